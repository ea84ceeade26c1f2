"""LRDecay: closed forms, torch's own schedulers, real runs, and resuming."""

import math

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from torch.optim import SGD, lr_scheduler

from callbacks import LRDecay
from datamodules import MNIST
from experiments import mnist
from harness.command_line.cli import cli
from lit_modules import Classifier

QUIET = dict(
    accelerator="cpu",
    devices=1,
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)


class Rates(Callback):
    """Keeps the learning rates of each optimizer step."""

    def __init__(self):
        self.rates = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.rates.append([group["lr"] for group in optimizer.param_groups])


class Given(Callback):
    """Logs given values as the metric `name`, one per validation."""

    def __init__(self, name, values):
        self.name, self.values = name, values

    def on_validation_epoch_end(self, trainer, pl_module):
        pl_module.log(self.name, self.values[trainer.current_epoch])


class TwoGroups(Classifier):
    """Softmax regression with another learning rate for the bias."""

    def __init__(self):
        super().__init__("softmax", (1, 28, 28), 10)

    def configure_optimizers(self):
        parameters = self.net.parameters() if hasattr(self, "net") else []
        weight, bias = parameters
        return SGD([{"params": [weight], "lr": 0.1}, {"params": [bias], "lr": 0.02}])


def rates_of(decay, callbacks=(), model=None, resume=None, **flags):
    """The learning rates of each step of a run, one per param group, and its trainer."""
    seen = Rates()
    trainer = Trainer(
        **{**QUIET, "limit_train_batches": 5, "limit_val_batches": 1, **flags}, callbacks=[decay, *callbacks, seen]
    )
    model = model or Classifier("softmax", (1, 28, 28), 10, lr=0.1)
    trainer.fit(model, MNIST(sample=True), ckpt_path=resume, weights_only=True)
    return seen.rates, trainer


def torch_rates(make_scheduler, steps):
    """What a scheduler of torch makes of the rate 1."""
    optimizer, rates = SGD([torch.zeros(1, requires_grad=True)], lr=1.0), []
    scheduler = make_scheduler(optimizer)
    for _ in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def cosine(optimizer):
    return lr_scheduler.CosineAnnealingLR(optimizer, T_max=100)


def multi_step(optimizer):
    return lr_scheduler.MultiStepLR(optimizer, milestones=[30, 80], gamma=0.2)


def one_cycle(rise):
    """torch's rises until step pct_start * total_steps - 1 and ends one step early, at total_steps - 1."""

    def make(optimizer):
        return lr_scheduler.OneCycleLR(
            optimizer, 1.0, total_steps=101, pct_start=(rise + 1) / 101, cycle_momentum=False, final_div_factor=1e12
        )

    return make


@pytest.mark.parametrize(
    ("decay", "warmup_steps", "scheduler"),
    [
        (LRDecay("constant"), 0, lambda optimizer: lr_scheduler.ConstantLR(optimizer, factor=1.0)),
        (LRDecay("cosine"), 0, cosine),
        (LRDecay("step", milestones=(0.3, 0.8), gamma=0.2), 0, multi_step),
        (LRDecay("onecycle"), 0, one_cycle(rise=30)),
        (LRDecay("onecycle", warmup_epochs=1), 10, one_cycle(rise=10)),
    ],
)
def test_factor_is_that_of_torchs_scheduler(decay, warmup_steps, scheduler):
    factors = [decay.factor(step, 100, warmup_steps) for step in range(100)]
    assert factors == pytest.approx(torch_rates(scheduler, 100), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        ("constant", [1 / 4, 2 / 4, 3 / 4, 1, 1, 1, 1, 1, 1, 1]),
        ("plateau", [1 / 4, 2 / 4, 3 / 4, 1, 1, 1, 1, 1, 1, 1]),
        ("step", [1 / 4, 2 / 4, 3 / 4, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01]),  # from 5 and from 7.5 on
        # Half a cosine over the six steps that are left: cos of 0, 30, 60, 90, 120 and 150 degrees.
        (
            "cosine",
            [1 / 4, 2 / 4, 3 / 4, 1, 1, (1 + math.sqrt(3) / 2) / 2, 3 / 4, 1 / 2, 1 / 4, (1 - math.sqrt(3) / 2) / 2],
        ),
    ],
)
def test_warmup_rises_in_equal_parts_to_the_whole_rate(schedule, factors):
    decay = LRDecay(schedule, warmup_epochs=1)
    assert [decay.factor(step, 10, 4) for step in range(10)] == pytest.approx(factors)


@pytest.mark.parametrize(
    ("flags", "steps"),
    [
        ({"max_epochs": 2}, 10),
        ({"max_epochs": 2, "accumulate_grad_batches": 2}, 6),  # of 2, 2 and 1 batches in each epoch
        ({"max_epochs": -1, "max_steps": 7}, 7),
    ],
)
def test_run_follows_the_cosine_in_every_group(flags, steps):
    rates, _ = rates_of(LRDecay("cosine"), model=TwoGroups(), **flags)
    factors = [(1 + math.cos(math.pi * step / steps)) / 2 for step in range(steps)]
    assert [rate for rate, _ in rates] == pytest.approx([0.1 * factor for factor in factors])
    assert [rate for _, rate in rates] == pytest.approx([0.02 * factor for factor in factors])


@pytest.mark.parametrize(
    ("flags", "factors"),
    [
        ({"limit_train_batches": 4}, [1 / 4, 2 / 4, 3 / 4, 1, 1, 1, 1, 1]),
        ({"limit_train_batches": 4, "accumulate_grad_batches": 2}, [1 / 2, 1, 1, 1]),
        pytest.param(
            {"limit_train_batches": 5, "accumulate_grad_batches": 2},  # steps of 2, 2 and 1 batches
            [1 / 3, 2 / 3, 1, 1, 1, 1],
        ),
    ],
)
def test_warmup_is_counted_in_epochs(flags, factors):
    rates, _ = rates_of(LRDecay(warmup_epochs=1), max_epochs=2, **flags)
    assert [rate for (rate,) in rates] == pytest.approx([0.1 * factor for factor in factors])


# Falls, stalls, ties, rises and falls again.
METRIC = [5, 4, 4, 4, 4.5, 3.5, 3.6, 3.7, 3.8, 3.9, 4, 4, 4, 4, 3, 3.2, 3.1, 3.3, 3.4, 3.05, 2, 2, 2, 2]


def plateau_rates(mode, sign):
    """The rate of each epoch by torch's own scheduler, which steps after each validation."""
    optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, mode, factor=0.5, patience=2, threshold=0)
    rates = []
    for value in METRIC:
        rates.append(optimizer.param_groups[0]["lr"])
        scheduler.step(sign * value)
    return rates


@pytest.mark.parametrize(("monitor", "mode", "sign"), [("given/loss", "min", 1), ("given/acc", "max", -1)])
def test_plateau_is_torchs_and_goes_on_after_a_resume(tmp_path, monitor, mode, sign):
    def run(**options):
        decay = LRDecay("plateau", gamma=0.5, patience=2, monitor=monitor)
        given = Given(monitor, [sign * value for value in METRIC])
        rates, trainer = rates_of(decay, [given], limit_train_batches=1, **options)
        trainer.save_checkpoint(tmp_path / "last.ckpt")
        return [rate for (rate,) in rates]

    expected = plateau_rates(mode, sign)
    assert len(set(expected)) > 3
    first = run(max_epochs=8)  # in a row of bad rounds, after the first reduction
    assert first == pytest.approx(expected[:8])
    assert run(max_epochs=len(METRIC), resume=tmp_path / "last.ckpt") == pytest.approx(expected[8:])


def test_resumed_run_of_more_epochs_says_that_its_curve_is_another(tmp_path, capsys):
    _, trainer = rates_of(LRDecay("cosine"), max_epochs=2)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    rates_of(LRDecay("cosine"), max_epochs=2, resume=tmp_path / "last.ckpt")
    assert not capsys.readouterr().out  # the same curve, at its end
    rates, _ = rates_of(LRDecay("cosine"), max_epochs=4, resume=tmp_path / "last.ckpt")
    was, now = (0.05 * (1 + math.cos(math.pi * 9 / steps)) for steps in (10, 20))  # of step 9
    said = f"now spans 20 steps in place of 10; the rate of step 9 was {was:.3g}, and goes on from {now:.3g}"
    assert said in capsys.readouterr().out
    assert rates[0] == [pytest.approx(0.05)]  # half of the curve


def test_resumed_run_says_that_its_milestones_have_moved_though_its_rate_has_not(tmp_path, capsys):
    _, trainer = rates_of(LRDecay("step", milestones=(0.9,)), max_epochs=2, limit_train_batches=2)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    rates_of(LRDecay("step", milestones=(0.9,)), max_epochs=4, limit_train_batches=2, resume=tmp_path / "last.ckpt")
    assert capsys.readouterr().out == "--lr_decay step now spans 8 steps in place of 4\n"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"schedule": "cosin"}, "'cosin'.*cosine"),
        ({"warmup_epochs": -1}, "warmup_epochs -1"),
        ({"milestones": (0.75, 0.5)}, r"milestones \[0\.75, 0\.5\]"),
        ({"milestones": (0.5, 1.0)}, "milestones"),
        ({"milestones": (0.0, 0.5)}, "milestones"),
        ({"milestones": (30, 60)}, "milestones"),
        ({"gamma": 0.0}, r"gamma 0\.0"),
        ({"gamma": 1.0}, r"gamma 1\.0"),
    ],
)
def test_bad_argument_is_named(options, named):
    with pytest.raises(ValueError, match=named):
        LRDecay(**options)


def test_dry_run_of_a_recipe_with_a_warm_up_is_one():
    flags = ["--sample", "--net", "softmax", "--lr_decay", "cosine", "--warmup_epochs", "1", "--max_epochs", "9"]
    cli(mnist.main, mnist.RECIPES, [*flags, "--accelerator", "cpu", "--fast_dev_run", "2"])


@pytest.mark.parametrize(
    ("decay", "flags", "named"),
    [
        (LRDecay("cosine"), {"max_epochs": -1}, "cosine.*max_epochs"),
        (LRDecay("onecycle"), {"max_epochs": -1}, "onecycle.*max_epochs"),
        (
            LRDecay("constant", warmup_epochs=2),
            {"max_epochs": 2},
            "warmup_epochs 2: .* shorter than the run, such as 0.4",
        ),
    ],
)
def test_schedule_that_cannot_fit_the_run_is_refused(decay, flags, named):
    with pytest.raises(ValueError, match=named):
        rates_of(decay, **flags)
