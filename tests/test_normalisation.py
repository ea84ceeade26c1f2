"""normalisation.py: descents by closed form, blocks by their definition, running means by hand, and what it claims."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from experiments import normalisation
from experiments.fundamentals.feature_scaling import FRACTION, REACHED, descend, houses, standardised
from experiments.fundamentals.norm_blocks import averaged_over
from experiments.fundamentals.normalisation_figures import draw_running
from experiments.fundamentals.running_statistics import accuracy, by_class, running_means, shuffled
from harness.command_line.cli import cli


@pytest.mark.parametrize("scale", [False, True])
def test_descent_is_that_of_its_closed_form(scale):
    features, prices = houses(100, 0)
    features = standardised(features) if scale else features
    descent = descend(features, prices)
    design = np.column_stack([features, np.ones(100)])  # a least-squares fit of its own, with an intercept
    best = np.linalg.lstsq(design, prices, rcond=None)[0][:2]
    assert descent.best == pytest.approx(best)
    singular = np.linalg.svd(features - features.mean(0), compute_uv=False)
    curvatures = singular**2 / 100
    assert descent.condition == pytest.approx((singular[0] / singular[1]) ** 2)
    assert descent.rate == pytest.approx(FRACTION * 2 / curvatures[0])
    # Along each axis of the bowl, a step multiplies the distance from the lowest point by 1 - rate * curvature.
    axes = np.linalg.svd(features - features.mean(0))[2]  # rows
    shares = (axes @ best) ** 2 * curvatures
    steps = np.arange(len(descent.losses))[:, None]
    losses = (shares * (1 - descent.rate * curvatures) ** (2 * steps)).sum(1)
    assert descent.losses == pytest.approx(losses / losses[0])
    assert descent.losses[-1] <= REACHED < descent.losses[-2]


def test_standardised_features_take_fewer_steps_by_far():
    features, prices = houses(200, 0)
    raw, scaled = descend(features, prices), descend(standardised(features), prices)
    # Standardised, the curvatures are 1 plus and minus the correlation.
    correlation = np.corrcoef(features.T)[0, 1]
    assert scaled.condition == pytest.approx((1 + correlation) / (1 - correlation))
    assert len(raw.path) > 20 * len(scaled.path)


IMAGE, CHANNEL = np.arange(4)[:, None, None], np.arange(6)[None, :, None]  # of blocks (N, C, H W)


@pytest.mark.parametrize(
    ("norm", "needed"),
    [
        ("batch", CHANNEL == 0),
        ("layer", IMAGE == 0),
        ("instance", (IMAGE == 0) & (CHANNEL == 0)),
        ("group", (IMAGE == 0) & (CHANNEL < 3)),
    ],
)
def test_blocks_are_those_of_the_definition(norm, needed):
    np.testing.assert_array_equal(averaged_over(norm), np.broadcast_to(needed, (4, 6, 4)))


@pytest.mark.parametrize("momentum", [0.5, 0.01])
def test_running_mean_is_a_weighted_sum_of_the_batches(momentum):
    followed, means = running_means(momentum, 50, seed=0)
    ages = np.arange(50)[::-1]
    assert followed[-1] == pytest.approx((momentum * (1 - momentum) ** ages * means).sum(), rel=1e-5)
    assert followed[0] == pytest.approx(momentum * means[0], rel=1e-5)


def test_figure_draws_more_momenta_than_there_are_colours():
    followed = {momentum: np.full(5, momentum) for momentum in np.linspace(0.1, 0.9, 9)}
    figure = draw_running(followed, np.zeros(5))
    drawn = {line.get_label(): line.get_ydata()[0] for line in figure.axes[0].lines if "momentum" in line.get_label()}
    assert drawn == pytest.approx({f"momentum 0.{tenths}": tenths / 10 for tenths in range(1, 10)})


class Above(nn.Module):
    """Answers 1 where BatchNorm makes a number positive, 0 elsewhere; its running mean is 0 and variance 1."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(1)

    def forward(self, x):
        return torch.cat([torch.zeros_like(x), self.norm(x)], 1)


def test_accuracy_in_training_mode_depends_on_the_company():
    numbers, labels = torch.tensor([[-3.0], [-1.0], [1.0], [3.0]]), torch.tensor([0, 0, 1, 1])
    mixed, apart = [torch.arange(4)], by_class(labels)
    model = Above()
    assert [batch.tolist() for batch in apart] == [[0, 1], [2, 3]]
    assert accuracy(model, numbers, labels, mixed, training=True) == 1
    assert accuracy(model, numbers, labels, apart, training=True) == 0.5  # half of each batch is above its mean
    assert accuracy(model, numbers, labels, apart, training=False) == 1
    assert model.norm.running_mean.item() == 0  # nothing was left behind


def test_shuffled_batches_have_each_image_once_but_a_single_last_one():
    batches = shuffled(9, 4, seed=0)
    assert [len(batch) for batch in batches] == [4, 4]
    assert len(set(torch.cat(batches).tolist())) == 8


@pytest.mark.parametrize(("sizes", "shown"), [([2, 4, 8, 32, 128], 32), ([2, 40, 20, 512], 40), ([128, 2], 2)])
def test_the_modes_are_shown_for_the_size_nearest_to_32(sizes, shown):
    assert normalisation._shown_size(sizes) == shown


def test_the_least_loss_of_houses_is_far_above_1_percent_of_the_first():
    # So what descents come down to is 1 % of the loss above its minimum, not 1 % of the loss.
    features, prices = houses(200, 0)
    share_explained = np.corrcoef(features @ descend(features, prices).best, prices)[0, 1] ** 2
    assert 1 - share_explained == pytest.approx(0.055, abs=0.001)


@pytest.fixture(scope="module")
def reduced(tmp_path_factory):
    folder = tmp_path_factory.mktemp("normalisation")
    flags = ["--batch_sizes", "[32]", "--max_epochs", "3", "--jobs", "1", "--run_dir", str(folder)]
    return cli(normalisation.main, None, flags), next(folder.glob("normalisation/*"))


def test_only_batch_norm_needs_eval_mode(reduced):
    metrics, folder = reduced
    scores = json.loads((folder / "metrics.json").read_text())["scores"]
    for norm in ("none", "layer"):
        assert len(set(scores[norm]["32"].values())) == 1
    batch = scores["batch"]["32"]
    assert batch["eval"] > 0.9
    assert batch["eval"] > batch["train, batches of 4"] + 0.05
    assert batch["train, one class in each"] < 0.3
    assert metrics["steps/as_they_are"] > 20 * metrics["steps/standardised"]
    found = {path.name for path in folder.glob("figures/*")}
    assert found == {"scaling.png", "blocks.png", "running.png", "batches.png"}


@pytest.mark.slow
def test_the_figures_of_the_header(tmp_path):
    metrics = cli(normalisation.main, None, ["--run_dir", str(tmp_path)])
    evaluated = {
        norm: {size: its["eval"] for size, its in of_size.items()} for norm, of_size in metrics["scores"].items()
    }
    assert evaluated["batch"]["2"] < evaluated["layer"]["2"] - 0.1
    assert evaluated["batch"]["32"] > 0.95
    assert min(evaluated["layer"].values()) > 0.9


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--momenta", "[0.1, 0]"], "momenta [0.1, 0.0]: need some, each above 0 and at most 1"),
        (["--momenta", "[]"], "momenta []: need some"),
        (["--batch_sizes", "[1]"], "batch_sizes [1]: need some, each from 2 to the 1,293 training images"),
        (["--batch_sizes", "[]"], "batch_sizes []: need some"),
        (["--houses", "5"], "houses 5: must be at least 10"),
        (["--max_epochs", "0"], "max_epochs 0: must be at least 1"),
    ],
)
def test_bad_input_ends_with_one_line(refusal, flags, said):
    assert said in refusal(normalisation.main, *flags)
