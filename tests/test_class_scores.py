"""Figures by class are scikit-learn's, for ties, absent classes and any number of devices."""

import json

import numpy as np
import pytest
import torch
from interrupt import only_run
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    precision_recall_fscore_support,
    roc_auc_score,
)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from experiments import mnist, table
from harness.command_line.cli import cli
from harness.runs.checkpoints import find_checkpoint, read_checkpoint
from harness.tasks.trained import load_data, load_model
from lit_modules.class_scores import FIGURES, best_threshold, by_class, class_scores

QUICK = ["--sample", "--accelerator", "cpu", "--pictures", "false", "--max_epochs", "2", "--batch_size", "100"]


def drawn(num_classes, absent=(), count=300):
    """Probabilities with many equal ones, and labels that go with them, of all classes but the `absent` ones."""
    rng = np.random.default_rng(num_classes)
    labels = rng.choice([number for number in range(num_classes) if number not in absent], count)
    weights = rng.integers(1, 6, (count, num_classes)) + 3 * (rng.random((count, num_classes)) < 0.3)
    weights[np.arange(count), labels] += 2
    return weights / weights.sum(1, keepdims=True), labels


def by_scikit_learn(probabilities, labels):
    predicted, hits = probabilities.argmax(1), labels[:, None] == np.arange(probabilities.shape[1])
    there = [number for number in range(hits.shape[1]) if hits[:, number].any()]
    columns = [(hits[:, number], probabilities[:, number]) for number in there]
    return {
        "balanced_acc": balanced_accuracy_score(labels, predicted),
        "macro_f1": f1_score(labels, predicted, average="macro"),
        "roc_auc": np.mean([roc_auc_score(*column) for column in columns]),
        "ap": np.mean([average_precision_score(*column) for column in columns]),
        "log_loss": log_loss(labels, probabilities, labels=range(probabilities.shape[1])),
    }


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.parametrize(("num_classes", "absent"), [(2, ()), (3, ()), (5, (0, 3)), (12, (11,))])
def test_figures_are_those_of_scikit_learn(num_classes, absent):
    probabilities, labels = drawn(num_classes, absent)
    assert len(np.unique(probabilities)) < len(probabilities)
    scores = class_scores(torch.from_numpy(probabilities), torch.from_numpy(labels))
    assert tuple(scores) == FIGURES
    assert scores == pytest.approx(by_scikit_learn(probabilities, labels), rel=1e-9)


def test_rows_of_the_classes_are_those_of_scikit_learn():
    probabilities, labels = drawn(4, (2,))
    rows = by_class(torch.from_numpy(probabilities).argmax(1), torch.from_numpy(labels), 4).rows("abcd")
    wanted = precision_recall_fscore_support(labels, probabilities.argmax(1), labels=range(4), zero_division=0)
    for name, column in zip(("precision", "recall", "f1", "count"), wanted, strict=True):
        assert [row[name] for row in rows.values()] == pytest.approx(column, abs=1e-6)
    assert rows["c"]["count"] == 0


def test_probability_of_zero_leaves_the_log_loss_finite_and_bce_need_not_sum_to_one():
    scores = class_scores(torch.tensor([[1.0, 0.0], [0.4, 0.4]]).double(), torch.tensor([1, 0]))
    assert scores["log_loss"] == pytest.approx((-np.log(np.finfo(float).tiny) + np.log(2)) / 2)


@pytest.mark.parametrize("seed", range(4))
def test_threshold_is_the_best_of_all_and_of_these_the_nearest_to_one_half(seed):
    rng = np.random.default_rng(seed)
    hits = rng.random(40) < 0.2
    scores = np.round(0.3 * rng.random(40) + 0.1 * hits, 2)
    chosen = best_threshold(torch.from_numpy(scores), torch.from_numpy(hits))
    steps = np.unique(scores)
    between = (steps[1:] + steps[:-1]) / 2
    figures = np.array([balanced_accuracy_score(hits, scores >= value) for value in between])
    best = between[figures >= figures.max() - 1e-12]
    assert chosen == pytest.approx(best[abs(best - 0.5).argmin()])


def test_threshold_of_scores_that_are_all_equal():
    assert best_threshold(torch.full((4,), 0.2), torch.tensor([True, False, False, False])) == 0.5


def said_by(run):
    """What the best model of a run says of its validation and test split: probabilities and labels."""
    read = read_checkpoint(find_checkpoint(str(run)))
    model, data = load_model(read).eval(), load_data(read)
    data.setup()
    said = {}
    for split, loader in {"val": data.val_dataloader(), "test": data.test_dataloader()}.items():
        batches = [(model.predicted(model(inputs).detach().double()), labels) for inputs, labels in loader]
        said[split] = [torch.cat(parts).numpy() for parts in zip(*batches, strict=True)]
    return said


@pytest.mark.parametrize("loss", ["ce", "bce"])
def test_run_has_the_figures_of_all_samples_and_a_curve_of_the_monitored_one(tmp_path, capsys, loss):
    flags = ["--net", "softmax", "--monitor", "val/balanced_acc", "--loss", loss, "--metrics", "roc_auc"]
    cli(mnist.main, {}, [*QUICK, *flags, "--run_dir", str(tmp_path)])
    run = only_run(tmp_path)
    metrics = json.loads((run / "metrics.json").read_text())
    for split, (probabilities, labels) in said_by(run).items():
        shares = probabilities / probabilities.sum(1, keepdims=True)
        wanted = {**by_scikit_learn(probabilities, labels), "log_loss": log_loss(labels, shares)}
        assert {name: metrics[f"{split}/{name}"] for name in wanted} == pytest.approx(wanted, abs=2e-6)
    if loss == "ce":
        assert metrics["test/log_loss"] == pytest.approx(metrics["test/loss"], abs=2e-6)
    curves = EventAccumulator(str(run)).Reload()
    assert {name.removeprefix("val/") for name in curves.Tags()["scalars"] if name.startswith("val/")} == {
        "acc", "loss", "balanced_acc", "roc_auc",
    }  # fmt: skip
    for name in ("balanced_acc", "roc_auc"):
        points = np.array([point.value for point in curves.Scalars(f"val/{name}")])
        assert abs(points - metrics[f"val/{name}"]).min() < 2e-6
    assert max(point.value for point in curves.Scalars("val/balanced_acc")) == pytest.approx(
        metrics["val/balanced_acc"], abs=1e-6
    )
    recalls = {name: its["recall"] for name, its in metrics["by_class"].items()}
    assert list(recalls) == [str(digit) for digit in range(10)]
    assert np.mean(list(recalls.values())) == pytest.approx(metrics["test/balanced_acc"], abs=1e-6)
    assert f"recall from {min(recalls.values()):.1%}" in capsys.readouterr().out


def test_threshold_of_two_classes_is_from_validation_and_both_figures_are_there(tmp_path, capsys):
    rng = np.random.default_rng(0)
    size = rng.standard_normal(400)
    rare = rng.random(400) < 1 / (1 + np.exp(3 - 2 * size))
    lines = [f"{its:.3f},{'ill' if is_rare else 'ail'}" for its, is_rare in zip(size, rare, strict=True)]
    (tmp_path / "few.csv").write_text("\n".join(["size,state", *lines]))
    what = ["--csv", str(tmp_path / "few.csv"), "--target", "state", "--task", "classification", "--net", "linear"]
    flags = ["--accelerator", "cpu", "--pictures", "false", "--val_size", "0.4", "--test_size", "0.3", "--folds", "0"]
    cli(table.main, table.RECIPES, [*what, *flags, "--max_epochs", "5", "--run_dir", str(tmp_path)])
    run = only_run(tmp_path)
    metrics, said = json.loads((run / "metrics.json").read_text()), said_by(run)
    chosen = metrics["val/threshold"]
    (val, val_labels), (test, test_labels) = said["val"], said["test"]
    reached = balanced_accuracy_score(val_labels, val[:, 1] >= chosen)
    assert reached == max(balanced_accuracy_score(val_labels, val[:, 1] >= score) for score in val[:, 1])
    assert metrics["val/balanced_acc_at_threshold"] == pytest.approx(reached, abs=1e-6)
    by_it = test[:, 1] >= chosen
    assert metrics["test/balanced_acc_at_threshold"] == pytest.approx(
        balanced_accuracy_score(test_labels, by_it), abs=1e-6
    )
    assert metrics["test/acc_at_threshold"] == pytest.approx(accuracy_score(test_labels, by_it), abs=1e-6)
    assert metrics["test/balanced_acc"] == pytest.approx(balanced_accuracy_score(test_labels, test.argmax(1)), abs=1e-6)
    assert f"ill from a probability of {chosen:.3f} on, as validation chose" in capsys.readouterr().out
