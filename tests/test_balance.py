"""Weights of classes are scikit-learn's; equal draws are equal, and the same after a resume and on several devices."""

import itertools
import json

import numpy as np
import pytest
import torch
from interrupt import only_run
from sklearn.linear_model import LogisticRegression
from sklearn.utils.class_weight import compute_class_weight

from datamodules import MNIST, samples
from datamodules.balance import balanced_draw, balanced_weights
from datamodules.batches import Part, Rows, TrainBatches
from experiments import mnist, table
from harness.command_line.cli import cli
from lit_modules import Classifier, RowClassifier

CPU = torch.device("cpu")
LABELS = np.repeat([0, 1, 2], [71, 25, 8])
ROWS = Rows(np.arange(len(LABELS), dtype=np.float32)[:, None], LABELS, CPU)  # each is its own number


def test_weights_are_those_of_scikit_learn():
    assert balanced_weights(LABELS, 3) == pytest.approx(
        compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
    )
    assert balanced_weights(LABELS, 4) == pytest.approx([*balanced_weights(LABELS, 3), 0])
    assert np.mean([balanced_weights(LABELS, 3)[label] for label in LABELS]) == pytest.approx(1)


@pytest.mark.parametrize("make", [Classifier, RowClassifier])
def test_gradient_is_that_of_each_sample_repeated_as_often_as_it_weighs(make):
    torch.manual_seed(0)
    shape = (1, 2, 2) if make is Classifier else (4,)
    inputs, labels = torch.randn(6, *shape), torch.tensor([0, 1, 2, 0, 0, 1])
    models = [
        make("softmax" if make is Classifier else "linear", shape, 3, class_weights=its) for its in ([1, 2, 3], None)
    ]
    models[1].load_state_dict(models[0].state_dict())
    repeated = torch.tensor([0, 1, 1, 2, 2, 2, 3, 4, 5, 5])
    loss = models[0].learn(inputs, labels)[0]
    expected = models[1].learn(inputs[repeated], labels[repeated])[0] * len(repeated) / len(labels)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-6)
    loss.backward()
    expected.backward()
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, atol=1e-6)


def test_weighted_classifier_finds_the_balanced_logistic_regression_of_scikit_learn():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [180, 20])
    rows = (rng.standard_normal((200, 3)) + labels[:, None]).astype(np.float32)
    theirs = LogisticRegression(C=1e6, class_weight="balanced", tol=1e-10, max_iter=1000).fit(rows, labels)
    model = RowClassifier("linear", (3,), 2, class_weights=balanced_weights(labels, 2))
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=500, tolerance_change=1e-12, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        loss, _ = model.learn(torch.from_numpy(rows), torch.from_numpy(labels))
        loss.backward()
        return loss

    optimizer.step(closure)
    ours = model.predicted(model(torch.from_numpy(rows))).detach().numpy()
    np.testing.assert_allclose(ours, theirs.predict_proba(rows), atol=2e-3)


def epochs_of(count, batch_size=8, seed=0, **options):
    """Which samples are drawn in each epoch, batch by batch."""
    for epoch in range(count):
        loader = TrainBatches(ROWS, np.arange(len(LABELS)), batch_size, seed, lambda: epoch, balance=LABELS, **options)  # noqa: B023
        yield [rows[:, 0].int().tolist() for rows, _ in loader]


def test_each_epoch_draws_all_classes_alike_and_no_sample_much_more_often_than_another():
    epochs = [list(itertools.chain(*batches)) for batches in epochs_of(4, batch_size=104)]
    for drawn in epochs:
        counts = np.bincount(drawn, minlength=104)
        assert sorted(np.bincount(LABELS, weights=counts)) == [34, 35, 35]
        for number in range(3):
            its = counts[number == LABELS]
            assert its.max() - its.min() <= 1
    assert len({tuple(drawn) for drawn in epochs}) == 4
    assert len(set(itertools.chain(*epochs)) - set(epochs[0])) > 10  # of the common class, others each time


def test_class_that_lacks_samples_and_a_single_class():
    rng = np.random.default_rng(0)
    assert sorted(balanced_draw(np.array([0, 0, 0, 2]), rng).tolist()) in [[0, 1, 3, 3], [0, 2, 3, 3], [1, 2, 3, 3]]
    assert sorted(balanced_draw(np.zeros(5, int), rng).tolist()) == [0, 1, 2, 3, 4]


def test_ranks_share_the_batches_of_one_device():
    ranks = [list(epochs_of(2, batch_size=4, part=Part(rank, 2))) for rank in range(2)]
    alone = list(epochs_of(2))
    assert [[one + other for one, other in zip(*epochs, strict=True)] for epochs in zip(*ranks, strict=True)] == alone


def test_resumed_epoch_has_the_rest_of_its_batches():
    (whole,) = epochs_of(1)
    resumed = TrainBatches(ROWS, np.arange(len(LABELS)), 8, 0, lambda: 0, balance=LABELS)
    resumed.load_state_dict({"epoch": 0, "batches": 5})
    assert [rows[:, 0].int().tolist() for rows, _ in resumed] == whole[5:]


def with_few_sevens(monkeypatch):
    digits = samples.digits()
    rows = np.sort([*np.flatnonzero(digits.train_labels != 7), *np.flatnonzero(digits.train_labels == 7)[:12]])
    its = digits._replace(train_images=digits.train_images[rows], train_labels=digits.train_labels[rows])
    monkeypatch.setattr(MNIST, "make_sample", staticmethod(lambda: its))
    return its.train_labels


@pytest.mark.parametrize("flags", [["--class_weights", "balanced"], ["--balanced_sampling"], ["--loss", "focal"]])
def test_run_with_a_remedy_resumes_and_keeps_it(tmp_path, monkeypatch, refusal, flags):
    labels = with_few_sevens(monkeypatch)
    quick = ["--sample", "--net", "softmax", "--accelerator", "cpu", "--pictures", "false", "--lr_decay", "constant"]
    quick += ["--batch_size", "100", "--run_dir", str(tmp_path)]
    cli(mnist.main, mnist.RECIPES, [*quick, *flags, "--max_epochs", "3", "--name", "whole"])
    cli(mnist.main, mnist.RECIPES, [*quick, *flags, "--max_epochs", "1", "--name", "parts"])
    whole, parts = (next(tmp_path.glob(f"mnist/*{name}*")) for name in ("whole", "parts"))
    cli(mnist.main, mnist.RECIPES, [*quick, *flags, "--max_epochs", "3", "--resume", str(parts)])
    states = [torch.load(run / "checkpoints" / "last.ckpt", weights_only=True) for run in (whole, parts)]
    for name, weight in states[0]["state_dict"].items():
        assert torch.equal(weight, states[1]["state_dict"][name])
    if flags == ["--class_weights", "balanced"]:
        weights = states[0]["hyper_parameters"]["class_weights"]
        assert weights[7] == max(weights) > 5
        data = MNIST(sample=True)
        data.setup()
        assert weights == pytest.approx(compute_class_weight("balanced", classes=np.arange(10), y=data.train_labels))
        assert len(labels) == len(data.train_labels) + len(data.val_indices)
    other = {"--class_weights": "none", "--balanced_sampling": "false", "--loss": "ce"}[flags[0]]
    assert flags[0] in refusal(mnist.main, *quick, flags[0], other, "--resume", str(parts), recipes=mnist.RECIPES)


def test_table_of_classes_has_both_remedies(tmp_path):
    flags = [
        "--sample",
        "--task",
        "classification",
        "--folds",
        "0",
        "--net",
        "linear",
        "--max_epochs",
        "2",
        "--accelerator",
        "cpu",
    ]
    remedies = [
        "--class_weights",
        "balanced",
        "--balanced_sampling",
        "--monitor",
        "val/macro_f1",
        "--pictures",
        "false",
    ]
    cli(table.main, table.RECIPES, [*flags, *remedies, "--run_dir", str(tmp_path)])
    run = only_run(tmp_path)
    read = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    assert read["datamodule_hyper_parameters"]["balanced_sampling"] is True
    assert len(read["hyper_parameters"]["class_weights"]) == 3
    assert json.loads((run / "metrics.json").read_text())["test/balanced_acc"] > 0.5


@pytest.mark.parametrize(
    ("script", "flags", "named"),
    [
        (
            mnist,
            ["--class_weights", "balance"],
            "class_weights 'balance': no such class_weights; did you mean balanced?",
        ),
        (table, ["--class_weights", "balanced"], "'progression' is a number, and has no classes"),
        (table, ["--balanced_sampling"], "balanced_sampling: is for classes"),
    ],
)
def test_mistake_is_one_line(refusal, script, flags, named):
    assert named in refusal(script.main, "--sample", "--accelerator", "cpu", *flags, recipes=script.RECIPES)


def test_number_of_weights_is_that_of_classes():
    with pytest.raises(ValueError, match="must be 3 numbers"):
        Classifier("softmax", (1, 2, 2), 3, class_weights=[1.0, 2.0])
