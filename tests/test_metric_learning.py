"""The metric-learning script: what its header says, what a run leaves, two processes, and one line for each mistake."""

import numpy as np
import pytest
import torch
from test_scripts import launch_script, read_metrics

from datamodules import MNIST, samples
from datamodules.arrays import write_arrays
from experiments import metric_learning
from experiments.fundamentals.retrieval_figures import draw_maps, marks
from harness.command_line.cli import cli
from lit_modules.embedder import Embedder
from lit_modules.retrieval import retrieve

SMALL = ["--net", "mlp", "--net_args.widths", "[32]", "--net_args.dropout", "0", "--accelerator", "cpu"]
PICTURES = {"embedding.png", "recall.png", "neighbours.png", "learning_curves.png"}


def run(tmp_path, *flags):
    flags = [*SMALL, "--run_dir", str(tmp_path), "--enable_progress_bar", "false", *flags]
    return cli(metric_learning.main, metric_learning.RECIPES, flags)


def test_run_leaves_scores_pictures_and_a_projector(tmp_path):
    run(tmp_path, "--max_epochs", "12", "--embedding_size", "16", "--recall_at", "[1,4]")
    metrics, folder = read_metrics(tmp_path)
    assert metrics["test/precision_at_1"] == metrics["test/recall_at_1"] > 0.93
    assert metrics["test/map"] > metrics["linear_nca/map"] > 0.5  # training draws the classes together
    assert metrics["pca/precision_at_1"] > 0.93
    assert {path.name for path in folder.glob("figures/*")} == PICTURES
    assert (folder / "projector_config.pbtxt").exists()
    assert len((next(folder.glob("*/test/metadata.tsv"))).read_text().split()) == metrics["test/samples"] == 360
    model = Embedder.load_from_checkpoint(folder / "checkpoints" / "best.ckpt", weights_only=True)
    assert model.hparams.loss == "center"


def test_report_that_was_cut_off_is_made_when_the_run_is_resumed(tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(metric_learning, "draw_recall", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, "--max_epochs", "2", "--embedding_size", "8")
    monkeypatch.undo()
    before, folder = read_metrics(tmp_path)
    run(tmp_path, "--max_epochs", "2", "--embedding_size", "8", "--resume", str(folder))
    metrics, _ = read_metrics(tmp_path)
    assert {path.name for path in folder.glob("figures/*")} == PICTURES
    assert "pca/map" in metrics and {name: metrics[name] for name in before} == before
    assert metrics["linear_nca/map"] > 0.5


def test_linear_maps_score_as_the_header_says():
    data = MNIST(sample=True)
    data.setup()
    labels, gallery_labels = (torch.tensor(part) for part in (data.arrays.test_labels, data.arrays.train_labels))
    for name, average in (("PCA", 0.681), ("linear NCA", 0.686)):
        gallery, queries = metric_learning.BASELINES[name](data, 64, 0)
        sums = retrieve(queries, labels, gallery, gallery_labels).sums()
        assert sums["precision_at_1"] / len(labels) == pytest.approx(0.992, abs=0.005)
        assert sums["map"] / len(labels) == pytest.approx(average, abs=0.005)


def last_weights(folder):
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_each_class_has_its_own_colour_and_mark():
    assert len({tuple(marks(number).values()) for number in range(100)}) == 100
    assert len({marks(number)["color"] for number in range(10)}) == 10
    classes = [f"class {number}" for number in range(12)]
    labels = torch.arange(24) % 12
    axes, *_ = draw_maps({"plane": torch.rand(24, 2)}, labels, classes).axes
    colours = {tuple(points.get_facecolor()[0]) for points in axes.collections}
    assert len(axes.collections) == 12 and len(colours) == 10


@pytest.mark.slow
def test_two_processes_score_as_one_does(tmp_path):
    flags = ["--loss", "center", "--max_epochs", "2", "--augment", "", "--baselines", "false", "--val_size", "145"]
    run(tmp_path / "1", *flags, "--batch_size", "136")  # 1,292 images: 10 batches, the last of 68
    two_flags = ["--devices", "2", "--batch_size", "68", "--run_dir", str(tmp_path / "2")]
    launch_script("metric_learning", *SMALL, *flags, *two_flags)
    results = []
    for devices in ("1", "2"):
        metrics, folder = read_metrics(tmp_path / devices)
        results.append((metrics, last_weights(folder)))
    (one, one_weights), (two, two_weights) = results
    assert one["test/samples"] == two["test/samples"] == 360
    for name, weight in one_weights.items():  # the centres among them
        torch.testing.assert_close(two_weights[name], weight, rtol=0, atol=1e-5)
    for name in ("val/precision_at_1", "test/precision_at_1", "test/acc"):
        assert two[name] == pytest.approx(one[name], abs=0.006), name  # one or two images, by the weights' last bits
    for name in ("val/map", "test/map", "test/map_at_r"):  # a query left out, or counted twice, changes these by more
        assert two[name] == pytest.approx(one[name], abs=2e-4), name


@pytest.mark.slow
def test_resumed_run_goes_on_where_it_ended(tmp_path):
    flags = ["--loss", "center", "--lr_decay", "constant", "--baselines", "false"]
    run(tmp_path / "whole", *flags, "--max_epochs", "2")
    run(tmp_path / "parts", *flags, "--max_epochs", "1")
    _, parts = read_metrics(tmp_path / "parts")
    run(tmp_path / "parts", *flags, "--max_epochs", "2", "--resume", str(parts))
    (_, whole), resumed = read_metrics(tmp_path / "whole"), last_weights(parts)
    for name, weight in last_weights(whole).items():  # the centres among them
        assert torch.equal(resumed[name], weight), name


def test_dry_run_writes_nothing(tmp_path):
    run(tmp_path, "--fast_dev_run", "true")
    assert not list(tmp_path.iterdir())


def small_mnist(folder, **changes):
    digits = samples.digits()
    arrays = dict(
        train_images=digits.train_images[:60], train_labels=digits.train_labels[:60],
        test_images=digits.test_images[:20], test_labels=digits.test_labels[:20],
    )  # fmt: skip
    write_arrays(folder / "mnist", digits._replace(**{**arrays, **changes}))
    return ["--sample", "false", "--data_dir", str(folder)]


def test_full_set_is_read_from_data_dir(tmp_path):
    flags = small_mnist(tmp_path / "data")
    metrics = run(tmp_path / "runs", *flags, "--max_epochs", "1", "--recall_at", "[60]", "--baselines", "false")
    assert metrics["test/recall_at_60"] == 1.0  # the whole gallery


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--loss", "tripplet"], "loss 'tripplet': no such loss; did you mean triplet?"),
        (["--data", "mnits"], "data 'mnits': no such data; did you mean mnist?"),
        (["--recall_at", "[1,1438]"], "recall_at: k 1438: must be from 1 to 1437"),
        (["--recall_at", "[0]"], "recall_at [0]: must be at least 1"),
        (["--recall_at", "[]"], "recall_at: needs at least one k"),
        (["--embedding_size", "0"], "embedding_size 0: must be at least 1"),
        (["--val_size", "0.0007"], "val_size 0.0007: takes one image"),
        (["--loss", "nca", "--loss_args.scale", "0"], "loss_args scale 0: must be above 0"),
    ],
)
def test_bad_flags_end_with_one_line(refusal, flags, line):
    assert line in refusal(metric_learning.main, *SMALL, *flags)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"train_labels": np.full(60, 3, np.uint8)}, "mnist: all training images are of one class"),
        ({"train_labels": (np.arange(60) % 10 + 1).astype(np.uint8)}, "label 10 in row 9; labels go from 0 to 9"),
        ({"train_labels": (np.arange(60) % 9 + 1).astype(np.uint8)}, "no image of the gallery has it"),
    ],
)
def test_labels_that_do_not_fit_end_with_one_line(tmp_path, refusal, changes, line):
    flags = small_mnist(tmp_path / "data", **changes)
    assert line in refusal(metric_learning.main, *SMALL, *flags)
