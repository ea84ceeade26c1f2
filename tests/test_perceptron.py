"""The perceptron: updates by hand, the margin by another solver, Novikoff's bound, noise, bias, and bad input."""

import numpy as np
import pytest
from scipy.optimize import minimize

from experiments import perceptron
from experiments.fundamentals.threshold_unit import (
    NORMAL,
    OFFSET,
    Points,
    answers,
    flipped,
    largest_margin,
    learn,
    most_updates,
    separable,
)
from harness.command_line.cli import cli

FIRST = type("FirstOrder", (), {"permutation": staticmethod(np.arange)})()  # takes points as they come


def test_updates_by_hand():
    # v = 0 has (1, 0) wrong: v = (1, 0, 1). It has (-1, 1) wrong, as 0 counts: v = (2, -1, 0). Then both are right.
    course = learn(Points(np.array([[1.0, 0.0], [-1.0, 1.0]]), np.array([1, -1])), 10, FIRST)
    assert course.weights.tolist() == [[0, 0, 0], [1, 0, 1], [2, -1, 0]]
    assert course.epochs.tolist() == [0, 0]
    assert course.wrong.tolist() == [0, 0]


@pytest.mark.parametrize("gap", [0.02, 0.1, 0.4])
def test_points_keep_their_distance_on_either_side(gap):
    points = separable(101, gap, np.random.default_rng(0))
    distances = points.y * (points.x @ NORMAL + OFFSET)
    assert distances.min() >= gap
    assert (points.y == -1).sum() == 50
    assert np.abs(points.x).max() <= 1


@pytest.mark.parametrize("gap", [0.02, 0.2])
def test_margin_is_that_of_a_quadratic_program(gap):
    points = separable(60, gap, np.random.default_rng(1))
    z = points.z * points.y[:, None]
    found = minimize(
        lambda v: v @ v, np.append(NORMAL, OFFSET) / gap, jac=lambda v: 2 * v, method="SLSQP",
        constraints={"type": "ineq", "fun": lambda v: z @ v - 1, "jac": lambda v: z}, options={"ftol": 1e-12},
    )  # fmt: skip
    assert largest_margin(points) == pytest.approx(1 / np.linalg.norm(found.x), rel=1e-4)
    assert largest_margin(points) >= gap / np.hypot(1, OFFSET)  # that of the line they were drawn by


@pytest.mark.parametrize("gap", [0.01, 0.05, 0.3])
def test_the_rule_ends_with_no_point_wrong_within_the_bound(gap):
    rng = np.random.default_rng(2)
    for _ in range(5):
        points = separable(50, gap, rng)
        course = learn(points, 100_000, rng)
        assert (answers(course.weights[-1], points) == points.y).all()
        assert 0 < course.updates <= most_updates(points)


def test_every_update_moves_the_weights_by_the_point_it_had_wrong():
    points = flipped(separable(30, 0.1, np.random.default_rng(0)), 0.2, np.random.default_rng(0))
    course = learn(points, 5, np.random.default_rng(0))
    signed = {tuple(row) for row in (points.z * points.y[:, None]).round(9)}
    for before, after in zip(course.weights, course.weights[1:], strict=False):
        step = (after - before).round(9)
        assert tuple(step) in signed
        assert step @ before <= 1e-6


@pytest.mark.parametrize(("noise", "percent"), [(0.004, "0.4"), (0.1, "10"), (0.07, "7"), (0.5, "50"), (0.0, "0")])
def test_a_small_share_of_wrong_labels_is_not_called_none(noise, percent):
    assert perceptron._name_of(noise) == f"{percent} % wrong labels"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    metrics = cli(perceptron.main, None, ["--run_dir", str(folder)])
    (path,) = folder.glob("perceptron/*")
    return metrics, path


def test_run_does_what_the_header_says(run):
    metrics, path = run
    assert metrics["updates"] == 11 <= metrics["most_updates"]
    assert metrics["noisy/updates"] > 1000
    assert metrics["noisy/wrong"] > metrics["noisy/wrong_by_logistic"] == 20  # a tenth of the labels
    assert metrics["without_bias/wrong"] > 0
    assert {figure.stem for figure in path.glob("figures/*.png")} == {"rule", "errors", "bound", "bias"}


def test_all_sets_of_points_stay_below_the_bound_by_a_factor_of_three(run):
    pairs = [pair for pairs in run[0]["bounds_and_updates"].values() for pair in pairs]
    assert len(pairs) == 120
    assert all(3 * updates < bound for bound, updates in pairs)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--gap", "0"], "gap 0: must be from 0.001"),
        (["--gap", "0.6"], "gap 0.6: must be from 0.001"),
        (["--noise", "0.6"], "noise 0.6: must be from 0 to 0.5"),
        (["--points", "5"], "points 5: must be at least 20"),
        (["--epochs", "0"], "epochs 0: must be at least 1"),
    ],
)
def test_bad_flag_ends_with_one_line(refusal, flags, said):
    assert said in refusal(perceptron.main, *flags)
