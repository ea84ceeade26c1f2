"""Regressor and RowClassifier: metrics against scikit-learn's, ensembles, and self-contained checkpoints."""

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from sklearn.linear_model import LinearRegression
from sklearn.metrics import log_loss, mean_absolute_error, r2_score, root_mean_squared_error
from torch.utils.data import DataLoader, TensorDataset

from datamodules.csv_table import CsvTable
from datamodules.house_prices import HousePrices
from datamodules.table_data import Fold
from harness.tasks.table_models import predict
from harness.training.flags import TrainerFlags
from harness.training.trainer import build_trainer
from lit_modules import Regressor, RowClassifier

QUIET = dict(
    accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, enable_model_summary=False,
    enable_checkpointing=False,
)  # fmt: skip
DRY = {name: value for name, value in QUIET.items() if name not in ("enable_model_summary", "logger")}
GENERATOR = torch.Generator().manual_seed(0)
ROWS = torch.randn(11, 4, generator=GENERATOR)
TARGETS = torch.exp(12 + 0.4 * torch.randn(11, generator=GENERATOR))
SMALL_TABM = {"size": 4, "widths": [8]}


def eleven_rows(targets=TARGETS):
    return DataLoader(TensorDataset(ROWS, targets), batch_size=4)  # batches of 4, 4 and 3


def scores_of(model, targets=TARGETS):
    trainer = Trainer(**QUIET, max_epochs=1)
    trainer.fit(model, eleven_rows(targets), eleven_rows(targets))
    return {**trainer.callback_metrics, **trainer.test(model, eleven_rows(targets), verbose=False)[0]}


def regressor(net="tabm", net_args=SMALL_TABM, **options):
    torch.manual_seed(0)
    options = {"mean": 12.0, "std": 0.4, "log_target": True, "lr": 0.0, **options}
    return Regressor(net, (4,), net_args={**net_args, "dropout": 0.0} if net == "tabm" else None, **options)


def test_metrics_are_scikit_learns():
    model = regressor()
    scores = scores_of(model)
    with torch.no_grad():
        predicted = model.eval()(ROWS)
    pair = TARGETS.double().numpy(), predicted.double().numpy()
    wanted = {
        "rmse": root_mean_squared_error(*pair),
        "mae": mean_absolute_error(*pair),
        "r2": r2_score(*pair),
        "log_rmse": root_mean_squared_error(*map(np.log, pair)),
    }
    for stage in ("train", "val", "test"):
        for name, value in wanted.items():
            assert float(scores[f"{stage}/{name}"]) == pytest.approx(value, rel=1e-5), (stage, name)
    assert scores["test/samples"] == 11


def test_losses_against_their_definitions():
    scaled = (TARGETS.log() - 12) / 0.4
    for model, loss in (
        (regressor("linear", loss="mse"), scaled**2),  # linear starts at 0
        (regressor("linear", loss="huber", delta=0.5), torch.where(
            scaled.abs() < 0.5, scaled**2 / 2, 0.5 * (scaled.abs() - 0.25),
        )),
    ):  # fmt: skip
        scores = scores_of(model)
        assert float(scores["train/loss"]) == pytest.approx(loss.mean().item(), rel=1e-5)
        assert float(scores["test/loss"]) == pytest.approx(loss.mean().item(), rel=1e-5)


def test_members_are_trained_one_by_one():
    model, scaled = regressor(), (TARGETS.log() - 12) / 0.4
    each = model.net(ROWS, each=True).squeeze(2)  # (11, 4)
    loss = model.training_step((ROWS, TARGETS), 0)
    assert loss.item() == pytest.approx(((each - scaled[:, None]) ** 2).mean().item(), rel=1e-5)
    assert loss.item() > ((each.mean(1) - scaled) ** 2).mean().item()  # what training the mean would give


def test_linear_net_finds_the_least_squares_solution():
    targets = ROWS @ torch.tensor([1.0, -2.0, 0.5, 3.0]) + 7 + 0.1 * torch.arange(11)
    peer = LinearRegression().fit(ROWS, targets)
    model = regressor("linear", mean=5.0, std=2.0, log_target=False, lr=0.1, optimizer="sgd")
    loader = DataLoader(TensorDataset(ROWS, targets), batch_size=11)
    Trainer(**QUIET, max_epochs=300).fit(model, loader)
    np.testing.assert_allclose(model(ROWS).detach(), peer.predict(ROWS), atol=1e-3)


def test_batch_of_none_counts_as_none():
    model = regressor()
    model._evaluate("val", (ROWS, TARGETS))
    model._evaluate("val", (ROWS[:0], TARGETS[:0]))
    means, count = model.means["val"].compute()
    assert count == 11
    assert np.isfinite(list(means.values())).all()


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "64-true"])
@pytest.mark.parametrize("net", ["tabm", "mlp"])
def test_metrics_are_no_less_precise_than_float32(precision, net):
    model = regressor(net, optimizer="sgd")  # Adam divides by its epsilon, which is 0 in float16
    trainer = build_trainer(TrainerFlags(precision=precision, **DRY))
    trainer.fit(model, eleven_rows(), eleven_rows())
    scores = {**trainer.callback_metrics, **trainer.test(model, eleven_rows(), verbose=False)[0]}
    with torch.no_grad():
        predicted = model.eval()(ROWS.to(next(model.parameters()).dtype))
    for stage in ("train", "val", "test"):
        rmse = root_mean_squared_error(TARGETS.double().numpy(), predicted.double().numpy())
        assert float(scores[f"{stage}/rmse"]) == pytest.approx(rmse, rel=1e-5), stage
        loss = np.square((TARGETS.log() - predicted.log()).double().numpy() / 0.4).mean()
        if net == "mlp" or stage != "train":  # of an ensemble it is of its members one by one
            assert float(scores[f"{stage}/loss"]) == pytest.approx(loss, rel=1e-4), stage


def test_predictions_of_a_low_precision_network_are_of_its_weights():
    model = regressor().to(torch.bfloat16)
    whole = regressor()
    whole.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(predict(model, ROWS.numpy()), whole.eval()(ROWS).detach().double())


def test_training_accuracy_is_that_of_the_mean_probability():
    model = RowClassifier("tabm", (4,), 2, net_args=SMALL_TABM)
    model.net.forward = lambda rows, each: torch.tensor([[[9.0, 0.0], [0.0, 4.0], [0.0, 4.0]]]).expand(5, 3, 2)
    model.training_step((ROWS[:5], torch.tensor([1, 1, 1, 0, 0])), 0)  # two of three members say 1, the mean logit 0
    assert model.means["train"].compute()[0]["acc"] == pytest.approx(3 / 5)


def test_probabilities_of_members_are_averaged():
    torch.manual_seed(0)
    model = RowClassifier("tabm", (4,), 3, net_args={**SMALL_TABM, "dropout": 0.0}, lr=0.0)
    labels = torch.arange(11) % 3
    scores = scores_of(model, labels)
    probabilities = model.net(ROWS, each=True).softmax(2).mean(1).detach()
    torch.testing.assert_close(model.eval()(ROWS).exp().detach(), probabilities)
    right = (probabilities.argmax(1) == labels).float().mean().item()
    assert float(scores["test/loss"]) == pytest.approx(log_loss(labels, probabilities), rel=1e-5)
    assert float(scores["test/acc"]) == pytest.approx(right)
    assert float(scores["val/acc"]) == pytest.approx(right)


def table_model(data, **options):
    data.setup()
    mean, std = data.target_mean_std()
    return Regressor(
        "tabm", data.input_shape, mean, std, data.log_target, data.preprocessing, dict(SMALL_TABM), **options
    )


def test_checkpoint_stands_alone(tmp_path):
    data = HousePrices(sample=True)
    model = table_model(data)
    trainer = Trainer(**QUIET, max_epochs=1, limit_train_batches=2)
    trainer.fit(model, data)
    trainer.save_checkpoint(tmp_path / "model.ckpt")
    loaded = Regressor.load_from_checkpoint(tmp_path / "model.ckpt", weights_only=True)
    assert loaded.hparams.preprocessing == data.preprocessing
    rows = torch.from_numpy(data.other_rows().rows)
    assert torch.equal(loaded.eval()(rows), model.eval()(rows))


def test_training_learns_the_formula_behind_the_generated_prices():
    torch.manual_seed(0)
    data = HousePrices(sample=True)
    model = table_model(data, lr=0.01)
    trainer = Trainer(**QUIET, max_epochs=15)
    trainer.fit(model, data)
    scores = trainer.test(model, data, verbose=False)[0]
    assert scores["test/log_rmse"] < 0.25  # prices vary by 0.35, and the noise is 0.08
    assert scores["test/samples"] == 60


def test_validation_may_be_absent():
    data = HousePrices(sample=True, fold=Fold(0, 5), val_size=0)
    model = table_model(data)
    trainer = Trainer(**QUIET, max_epochs=1)
    trainer.fit(model, data)
    assert not any(name.startswith("val/") for name in trainer.callback_metrics)


def test_table_of_classes_trains():
    data = CsvTable("", "", "classification", sample=True)
    data.setup()
    torch.manual_seed(0)
    model = RowClassifier("tabm", data.input_shape, len(data.classes), net_args=dict(SMALL_TABM), lr=0.02)
    trainer = Trainer(**QUIET, max_epochs=15)
    trainer.fit(model, data)
    assert trainer.test(model, data, verbose=False)[0]["test/acc"] > 0.8


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"loss": "mae"}, "'mae'"),
        ({"loss": "huber", "delta": 0.0}, "delta 0.0"),
        ({"net": "tabn"}, "did you mean tabm"),
        ({"optimizer": "adm"}, "did you mean adam"),
        ({"lr": -1.0}, "-1"),
    ],
)
def test_mistaken_argument_is_named(options, named):
    with pytest.raises(ValueError, match=named):
        Regressor(**{"net": "mlp", "input_shape": (4,), **options})
