"""overfitting.py --sizes: sets of images that contain each other, as many steps for each, and what is drawn of them."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from experiments import overfitting
from experiments.fundamentals import learning_curve
from experiments.fundamentals.few_images import FewImages, Settings, measure, new_model, training_batches
from experiments.fundamentals.learning_curve import balanced_order, nested
from harness.command_line.cli import cli
from harness.tasks.study import Study

QUICK = Settings(images=40, max_epochs=2, lr=0.01, batch_size=16, seed=0, sample=True, data_dir="data")
SIZES = [16, 50, 333, 1700]  # the last has all images but the 300 that validate


@pytest.fixture(scope="module")
def sets():
    return {draw: [nested(QUICK, size, draw) for size in SIZES] for draw in (0, 1)}


@pytest.mark.parametrize("draw", [0, 1])
def test_each_set_contains_the_last_and_all_have_the_same_images_to_validate_and_test(sets, draw):
    plain = FewImages(QUICK)
    plain.setup()
    for size, smaller, larger in zip(SIZES[1:], sets[draw], sets[draw][1:], strict=False):
        assert len(larger.train_indices) == len(set(larger.train_indices)) == size
        assert set(smaller.train_indices) < set(larger.train_indices)
    for data in sets[draw]:
        np.testing.assert_array_equal(data.val_indices, plain.val_indices)
        np.testing.assert_array_equal(data.arrays.test_images, plain.arrays.test_images)
    everything = np.arange(len(plain.arrays.train_labels))
    np.testing.assert_array_equal(sets[draw][-1].train_indices, np.setdiff1d(everything, plain.val_indices))


@pytest.mark.parametrize("draw", [0, 1])
def test_each_class_has_its_share_of_each_set(sets, draw):
    of_all = np.bincount(sets[draw][-1].arrays.train_labels[sets[draw][-1].train_indices])
    for size, data in zip(SIZES, sets[draw], strict=True):
        counts = np.bincount(data.arrays.train_labels[data.train_indices], minlength=10)
        assert counts.sum() == size
        assert (abs(counts - size * of_all / of_all.sum()) < 1).all()


def test_draws_choose_other_images(sets):
    one, other = (set(sets[draw][1].train_indices) for draw in (0, 1))
    assert len(one & other) < 10  # of 50; by chance 1.5 are in both


def test_order_gives_the_next_place_to_the_class_that_has_least_of_its_share():
    sizes = np.array([97, 31, 7])  # have no common factor, so that only the first places are a draw
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(3), sizes))
    order = balanced_order(labels, np.random.default_rng(0))
    assert sorted(order) == list(range(135))
    taken = labels[order]
    assert set(taken[:3]) == {0, 1, 2}
    counts = np.ones(3)
    for label in taken[3:]:
        assert label == np.argmin(counts / sizes)
        counts[label] += 1


def test_measures_are_those_of_each_split():
    data = nested(QUICK, 50, draw=0)
    model = new_model(QUICK, data).eval()
    images, labels, test_images, test_labels = map(torch.from_numpy, data.arrays)
    for batches, pixels, truth in (
        (training_batches(data), images[data.train_indices], labels[data.train_indices]),
        (data.val_dataloader(), images[data.val_indices], labels[data.val_indices]),
        (data.test_dataloader(), test_images, test_labels),
    ):
        with torch.no_grad():
            logits = model(pixels.permute(0, 3, 1, 2) / 255)
        loss, accuracy = measure(model, batches)
        assert loss == pytest.approx(F.cross_entropy(logits, truth.long()).item(), abs=1e-5)
        assert accuracy == pytest.approx(np.mean(logits.argmax(1).numpy() == truth.numpy()))


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory):
    """Its folder, the figure that it drew, and the steps of each network that it measured."""
    folder, figures, steps = tmp_path_factory.mktemp("sizes"), {}, []

    def conclude(self, metrics, drawn, _original=Study.conclude):
        figures.update(drawn)
        return _original(self, metrics, drawn)

    def counting(model, batches):
        steps.append(model.trainer.global_step)
        return measure(model, batches)

    flags = ["--sizes", "16,50,100", "--draws", "2", "--images", "40", "--max_epochs", "2", "--jobs", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Study, "conclude", conclude)
        patch.setattr(learning_curve, "measure", counting)
        cli(overfitting.main, None, [*flags, "--run_dir", str(folder)])
    (run,) = folder.glob("overfitting/*")
    return run, figures["sizes"], steps


def test_all_sizes_take_as_many_steps_as_the_images_do(quick_run):
    run, _, steps = quick_run
    assert steps == [2 * 3] * 18  # 40 images are batches of 16, 16 and 8; 3 sizes, 2 draws, 3 splits
    assert json.loads((run / "metrics.json").read_text())["steps"] == 6


def test_figure_shows_the_means_and_ranges_of_the_metrics_file(quick_run):
    run, figure, _ = quick_run
    metrics = json.loads((run / "metrics.json").read_text())
    left, right = figure.axes
    shown = [(left, 0, "train/acc"), (left, 1, "val/acc"), (right, 0, "gap")]
    for axes, number, name in shown:
        values = np.array([metrics["by_size"][size][name] for size in ("16", "50", "100")])
        assert values.shape == (3, 2)
        np.testing.assert_array_equal(axes.lines[number].get_xdata(), [16, 50, 100])
        np.testing.assert_allclose(axes.lines[number].get_ydata(), values.mean(1))
        corners = axes.collections[number].get_paths()[0].vertices
        for size, its in zip((16, 50, 100), values, strict=True):
            there = corners[corners[:, 0] == size, 1]
            assert (there.min(), there.max()) == pytest.approx((its.min(), its.max()))
    assert axes.get_xscale() == "log"
    assert (run / "figures/sizes.png").exists()
    for size, its in metrics["by_size"].items():
        np.testing.assert_allclose(its["gap"], np.subtract(its["train/acc"], its["val/acc"]))
        assert metrics[f"gap/{size}"] == pytest.approx(np.mean(its["gap"]), abs=1e-4)


@pytest.mark.slow
def test_more_images_narrow_the_gap(tmp_path):
    flags = ["--sizes", "100,800", "--draws", "1", "--jobs", "1", "--run_dir", str(tmp_path)]
    few, many = cli(overfitting.main, None, flags)["by_size"].values()
    for split in ("val/acc", "test/acc"):
        assert many[split][0] > few[split][0] + 0.4
    assert many["gap"][0] < few["gap"][0] / 3
    assert few["train/acc"][0] == 1
