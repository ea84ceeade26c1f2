"""A line fitted by every method, against numpy's polynomial fit and closed forms; and one line for each bad input."""

import json
import re
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch

from experiments import linear_regression
from experiments.fundamentals.line_descent import (
    Points,
    default_rate,
    descend,
    gradient_by_autograd,
    gradient_by_hand,
    least_squares,
    losses_on_grid,
    search,
    smoothed,
    train_module,
)
from experiments.fundamentals.line_figures import draw_fit, draw_paths, draw_search
from harness.command_line.cli import cli

WAYS = ("full", "batch16", "batch1")  # of the default comparison


def run(tmp_path, *flags):
    return cli(linear_regression.main, None, [*flags, "--run_dir", str(tmp_path / "runs")])


def write(tmp_path, text):
    (tmp_path / "points.csv").write_text(text)
    return str(tmp_path / "points.csv")


@pytest.fixture(scope="module")
def points():
    return linear_regression.generate(40, noise=0.5, seed=1)


@pytest.mark.parametrize("method", ["search", "module"])  # the others take the module's steps; see below
def test_methods_find_the_line_without_noise(tmp_path, method):
    metrics = run(tmp_path, "--method", method, "--noise", "0", "--points", "32")
    for name in ("search",) if method == "search" else WAYS:
        assert metrics[f"{name}/w"] == pytest.approx(3, abs=1e-3)
        assert metrics[f"{name}/b"] == pytest.approx(0.8, abs=1e-3)
        assert metrics[f"{name}/difference"] < 1e-3


def test_default_run_leaves_figures_and_metrics(tmp_path, capsys):
    metrics = run(tmp_path)
    (folder,) = (tmp_path / "runs" / "linear_regression").iterdir()
    assert {path.stem for path in (folder / "figures").glob("*.png")} == {"fit", "paths", "losses", "gradients"}
    assert json.loads((folder / "metrics.json").read_text())["full/w"] == metrics["full/w"]
    printed = capsys.readouterr().out
    assert printed.count("largest difference from the least-squares line: ") == len(WAYS)
    assert metrics["gradient_difference"] < 1e-9
    table = re.findall(r"w = (\d\.\d{3})  b = (\d\.\d{3})$", linear_regression.__doc__, re.M)
    for name, (w, b) in zip(("least_squares", *WAYS), table, strict=True):
        assert (f"{metrics[f'{name}/w']:.3f}", f"{metrics[f'{name}/b']:.3f}") == (w, b)
    assert metrics["full/difference"] < 1e-3 < metrics["batch16/difference"] < metrics["batch1/difference"]


def test_single_points_are_near_within_an_epoch_and_then_dance(points):
    count, best = len(points.x), least_squares(points)
    paths = [descend(gradient_by_hand, points, size, 0.08, 50, 0).path for size in (count, 16, 1)]
    after_an_epoch = [np.linalg.norm(path[(len(path) - 1) // 50] - best) for path in paths]
    assert after_an_epoch[2] < 0.5 < 2 < after_an_epoch[0]
    spreads = [np.linalg.norm(path[-(len(path) // 5) :] - best, axis=1).max() for path in paths]
    assert all(2 * calmer < wilder for calmer, wilder in pairwise(spreads))


@pytest.mark.parametrize("batch", [1, 7, 40])
def test_methods_take_the_same_steps(points, batch):
    by_hand = descend(gradient_by_hand, points, batch, 0.05, 3, seed=4)
    for other in (descend(gradient_by_autograd, points, batch, 0.05, 3, 4), train_module(points, batch, 0.05, 3, 4)):
        np.testing.assert_allclose(other.path, by_hand.path, atol=1e-12)
        np.testing.assert_allclose(other.losses, by_hand.losses, atol=1e-12)


def test_full_batch_goes_straight_to_least_squares_by_a_constant_factor(points):
    descent = descend(gradient_by_hand, points, len(points.x), 0.1, 20, 0)
    left = 0.8 ** np.arange(21)  # each step takes 2 lr of the way, for the Hessian is 2 I
    np.testing.assert_allclose(descent.path, (1 - left)[:, None] * least_squares(points), atol=1e-12)


def test_at_a_rate_of_1_full_batches_bounce_for_ever_and_arrive_just_below(points):
    best = least_squares(points)
    bounced = descend(gradient_by_hand, points, len(points.x), 1.0, 20, 0).path
    np.testing.assert_allclose(bounced, np.where(np.arange(21)[:, None] % 2, 2 * best, 0), atol=1e-9)
    slowly = descend(gradient_by_hand, points, len(points.x), 0.95, 200, 0).path
    np.testing.assert_allclose(slowly[-1], best, atol=1e-6)  # 0.9 ** 200 is below 1e-9


def test_gradient_by_hand_is_autograds(points):
    weights, z, y = torch.tensor([0.3, -2.0], dtype=torch.float64), *map(torch.from_numpy, (points.z, points.y))
    torch.testing.assert_close(gradient_by_hand(weights, z, y), gradient_by_autograd(weights, z, y))


def test_least_squares_is_numpys_polynomial_fit(points):
    np.testing.assert_allclose(points.lines(least_squares(points)), np.polyfit(points.x, points.y, 1))


def test_losses_on_grid_are_mean_squared_errors(points):
    slopes, heights = np.array([-1.0, 0.5, 3.0]), np.array([0.0, 2.0])
    losses = losses_on_grid(points, slopes, heights)
    for row, height in enumerate(heights):
        for column, slope in enumerate(slopes):
            assert losses[row, column] == pytest.approx(np.mean((slope * points.z + height - points.y) ** 2))


def test_each_round_of_a_search_is_twenty_times_as_fine(points):
    grids = search(points)
    widths = [np.ptp(grid.slopes) for grid in grids]
    assert [before / after for before, after in pairwise(widths)] == pytest.approx([20] * (len(grids) - 1))
    np.testing.assert_allclose(grids[-1].best(), least_squares(points), atol=1e-4)


def test_smoothing_is_pandas_adjusted_average():
    losses = np.random.default_rng(0).random(50)
    np.testing.assert_allclose(smoothed(losses, 0.9), pd.Series(losses).ewm(alpha=0.1, adjust=True).mean())
    np.testing.assert_allclose(smoothed(np.full(5, 7.0), 0.9), 7)  # no bias towards the average's start at 0


def test_columns_of_a_file_far_from_the_origin(tmp_path):
    years = np.arange(1950.0, 2025.0)
    heights = 0.03 * years - 55 + np.sin(years)
    rows = "".join(f"{height},{year:.0f}\n" for height, year in zip(heights, years, strict=True))
    csv = write(tmp_path, "level,year\n" + rows)
    metrics = run(tmp_path, "--csv", csv, "--x", "year", "--y", "level", "--method", "autograd", "--batch", "full")
    slope, intercept = np.polyfit(years, heights, 1)
    assert metrics["full/w"] == pytest.approx(slope, rel=1e-3)
    assert metrics["full/b"] == pytest.approx(intercept, rel=1e-3)


def test_figures_have_the_names_of_the_columns_and_one_word_for_the_intercept():
    points = Points(np.array([1.0, 2.0, 4.0]), np.array([2.0, 3.0, 7.0]), "area", "price in $")
    (fit,) = draw_fit(points, {"full": np.array([1.5, 0.5])}, None).axes
    assert (fit.get_xlabel(), fit.get_ylabel()) == ("area", r"price in \$")  # else a formula would begin
    descent = descend(gradient_by_hand, points, 3, 0.1, 2, 0)
    whole, near = draw_paths(points, {"full": descent}).axes
    assert near.get_xlabel() == r"slope, price in \$ per area"
    assert whole.get_ylabel().endswith("intercept at mean area, 2.333")
    plan, *_ = draw_search(linear_regression.generate(9, 0.1, 0), search(points)).axes
    assert (plan.get_xlabel(), plan.get_ylabel()) == ("slope w", "intercept b")


def test_constant_y_has_slope_zero(tmp_path):
    metrics = run(tmp_path, "--csv", write(tmp_path, "x,y\n1,5\n2,5\n4,5\n"), "--batch", "full")
    assert metrics["full/w"] == pytest.approx(0, abs=1e-9)


def test_a_point_far_out_slows_small_batches_down():
    x = np.array([*range(100), 5000.0])
    points = Points(x, 3 * x + 0.8)
    assert default_rate(points, 101) == 0.1
    assert default_rate(points, 1) * (1 + points.z[-1] ** 2) == pytest.approx(0.4)
    path = descend(gradient_by_hand, points, 1, default_rate(points, 1), 50, 0).path
    assert points.lines(path[-1])[0] == pytest.approx(3, abs=1e-3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no such file"),
        ("", "an empty file"),
        ("x,y\n", "a header and no rows"),
        ("x,z\n1,2\n", "column 'y' is missing"),
        ("x,y\n1,2\n2,three\n3,4\n", "line 3, column 'y': 'three' is not a number"),
        ("x,y\n1,2\n-inf,3\n3,4\n", "line 3, column 'x': '-inf' is not finite"),
        ("x,y\n1,2\n2,3\n3,nan\n", "line 4, column 'y': 'nan' is missing"),
        ("x,y\n1,2\n2,3\n", "2 rows are too few"),
        ("x,y\n0.1,2\n0.1,3\n0.1,4\n", "column 'x': always '0.1'"),
    ],
)
def test_bad_file_is_one_line(tmp_path, refusal, text, words):
    csv = str(tmp_path / "points.csv") if text is None else write(tmp_path, text)
    line = refusal(linear_regression.main, "--csv", csv)
    assert words in line
    assert csv in line


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--batch", "101"], "--batch 101: must be from 1 to 100"),
        (["--batch", "0"], "--batch 0: must be from 1"),
        (["--batch", "half"], "--batch half: expected"),
        (["--method", "guess"], "--method guess: expected"),
        (["--lr", "0"], "--lr 0.0: must be above 0"),
        (["--csv", "points.csv", "--x", "price", "--y", "price"], "--x price: is --y too"),
        (["--lr", "inf"], "--lr inf: expected float"),
        (["--batch", "1", "--lr", "1.1"], "--lr 1.1: descent in batches of 1 diverges; try --lr 0.0"),
        (["--batch", "full", "--lr", "1"], "--lr 1: full batches need a rate below 1"),
        (["--lr", "1.1"], "--lr 1.1: full batches need a rate below 1"),
        (["--noise", "1e300"], "--noise 1e+300: must be at most 1e+30"),
        (["--noise", "-1"], "--noise -1.0: must be at least 0"),
        (["--points", "2"], "--points 2: must be at least 3"),
        (["--seed", "-1"], "--seed -1: must be at least 0"),
        (["--epochs", "0"], "--epochs 0: must be at least 1"),
    ],
)
def test_bad_flag_is_one_line(refusal, flags, words):
    assert words in refusal(linear_regression.main, *flags)
