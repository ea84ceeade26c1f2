"""Modules of others that step their optimizers, set their rates and return outputs as they like."""

from dataclasses import replace

import pytest
import torch
from test_plain_modules import FLAGS, ByHand, Line, Points
from torch import nn

from harness.tasks.launch import fit_and_test

EPOCHS, BATCHES = 6, 5
FALLING = [0.1 * (1 - batch / (EPOCHS * BATCHES)) for batch in range(EPOCHS * BATCHES)]  # the rate of each batch


class Watched(ByHand):
    """Keeps the rate of each batch."""

    def __init__(self):
        super().__init__()
        self.rates = []

    def training_step(self, batch, batch_idx):
        super().training_step(batch, batch_idx)
        self.rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])


class Twice(Watched):
    """Has two optimizers, which both step in each batch."""

    def optimizers(self):
        first, second = super().optimizers()
        second.step()
        return first

    def configure_optimizers(self):
        return [torch.optim.SGD(self.parameters(), lr=0.1) for _ in range(2)]


class Seldom(Watched):
    """Steps in every other batch."""

    def training_step(self, batch, batch_idx):
        self.rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])
        if batch_idx % 2:
            ByHand.training_step(self, batch, batch_idx)


@pytest.mark.parametrize(("kind", "steps"), [(Twice, 2 * EPOCHS * BATCHES), (Seldom, EPOCHS * BATCHES * 2 // 5)])
@pytest.mark.parametrize("monitor", ["val_loss", None])
def test_schedule_and_end_follow_the_batches(tmp_path, kind, steps, monitor):
    model = kind()
    flags = replace(FLAGS, max_epochs=EPOCHS, lr_decay="linear", checkpoint_epochs=4, pictures=False)
    result = fit_and_test("own", model, Points(), replace(flags, monitor=monitor, run_dir=str(tmp_path)))
    assert (result.metrics["epochs"], result.metrics["steps"]) == (EPOCHS, steps)
    assert model.rates == pytest.approx(FALLING)
    last = torch.load(result.run / "checkpoints" / "last.ckpt", weights_only=True)
    assert (last["epoch"], last["global_step"]) == (EPOCHS - 1, steps)


def test_rate_that_a_module_sets_is_left_alone(tmp_path):
    class Halved(Line):
        seen = ()

        def on_train_epoch_start(self):
            for group in self.trainer.optimizers[0].param_groups:
                group["lr"] = 0.1 / 2**self.current_epoch

        def on_train_batch_end(self, *_):
            self.seen = {*self.seen, self.trainer.optimizers[0].param_groups[0]["lr"]}

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    model = Halved()
    fit_and_test("own", model, Points(), replace(FLAGS, max_epochs=3, pictures=False, run_dir=str(tmp_path)))
    assert model.seen == {0.1, 0.05, 0.025}


def test_outputs_of_different_sizes_cost_nothing(tmp_path):
    class Ragged(Line):
        def test_step(self, batch, batch_idx):
            super().test_step(batch, batch_idx)
            return batch[0].expand(-1, batch_idx + 1)

    result = fit_and_test("own", Ragged(), Points(), replace(FLAGS, max_epochs=1, run_dir=str(tmp_path)))
    assert result.metrics["test_loss"] > 0


@pytest.mark.parametrize(
    ("losses", "epochs"),
    [
        ([2, 3, 4, 1.9, 1.8, 1.7, 1.6, 1.5, 1.4, 1.3], 10),  # better again before the minimum
        ([2, 1, 0.5, 3, 3, 3, 3, 3, 3, 3], 6),  # worse since its third epoch
    ],
)
@pytest.mark.parametrize("interrupted", [False, True])
def test_patience_is_judged_from_the_minimum_of_epochs_on(tmp_path, losses, epochs, interrupted):
    class Told(Line):
        def validation_step(self, batch, batch_idx):
            self.log("val_loss", nn.functional.mse_loss(batch[0], batch[0]) + losses[min(self.current_epoch, 9)])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    flags = replace(FLAGS, max_epochs=10, min_epochs=6, early_stopping=2, pictures=False, run_dir=str(tmp_path))
    if interrupted:
        run = fit_and_test("own", Told(), Points(), replace(flags, max_epochs=5)).run
        flags = replace(flags, resume=str(run))
    assert fit_and_test("own", Told(), Points(), flags).metrics["epochs"] == epochs
