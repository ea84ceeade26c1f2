"""himmelblau.py: the minima, the descent of each start alone, correct counts, and the header's claims."""

import json

import numpy as np
import pytest
import torch
from scipy.optimize import fsolve

from experiments import himmelblau
from experiments.fundamentals.critical_points import critical_points, newton, sgd_path
from harness.command_line.cli import cli
from lit_modules.optimizers import build_optimizer


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of all default optimizers from few starts: its metrics, and its directory."""
    folder = tmp_path_factory.mktemp("runs")
    metrics = cli(himmelblau.main, None, ["--side", "9", "--run_dir", str(folder)])
    (path,) = folder.glob("himmelblau/*")
    return metrics["optimizers"], path


def gradient(point):
    x, y = point
    return [4 * x * (x**2 + y - 11) + 2 * (x + y**2 - 7), 2 * (x**2 + y - 11) + 4 * y * (x + y**2 - 7)]


def test_minima_are_where_scipy_finds_the_gradient_zero_and_f_is_zero():
    for minimum in himmelblau.MINIMA.numpy():
        np.testing.assert_allclose(fsolve(gradient, np.round(minimum, 1), xtol=1e-14), minimum, atol=1e-6)
    assert himmelblau.himmelblau(himmelblau.MINIMA).max() < 1e-9


# As published; f at them is 181.617, and 13.3119, 67.7192, 104.0152 and 178.3372.
MAXIMUM = (-0.270845, -0.923039)
SADDLES = ((3.385154, 0.073852), (0.086678, 2.884255), (-3.073026, -0.081353), (-0.127961, -1.953715))


@pytest.fixture(scope="module")
def critical():
    return critical_points(himmelblau.himmelblau, himmelblau.SPAN)


def test_saddles_and_the_maximum_are_the_known_ones_and_where_scipy_finds_the_gradient_zero(critical):
    assert critical.kinds == ["minimum"] * 4 + ["saddle"] * 4 + ["maximum"]
    for points, known in ((critical.of_kind("saddle"), SADDLES), (critical.of_kind("maximum"), [MAXIMUM])):
        np.testing.assert_allclose(points, known, atol=1e-6)
        for point, near in zip(points.numpy(), known, strict=True):
            np.testing.assert_allclose(point, fsolve(gradient, near, xtol=1e-14), atol=1e-9)
    np.testing.assert_allclose(critical.values[4:], [13.3119, 67.7192, 104.0152, 178.3372, 181.617], atol=1e-3)


def test_none_is_missing(critical):
    assert len(critical.points) == 3 * 3  # as many zeros as two cubics can share, by Bezout


def test_curvatures_are_those_of_the_hessian_by_hand(critical):
    for (x, y), curvatures in zip(critical.points.tolist(), critical.curvatures, strict=True):
        mixed = 4 * (x + y)
        by_hand = np.array([[12 * x**2 + 4 * y - 42, mixed], [mixed, 4 * x + 12 * y**2 - 26]])
        np.testing.assert_allclose(curvatures, np.linalg.eigvalsh(by_hand), rtol=1e-9)


def test_newton_takes_one_step_on_a_parabola():
    def parabola(points):
        return 3 * (points[..., 0] - 1) ** 2 - (points[..., 1] + 2) ** 2  # a saddle

    ends = newton(parabola, torch.tensor([[5.0, 5.0], [-7.0, 0.5]], dtype=torch.float64), steps=1)
    np.testing.assert_allclose(ends, [[1, -2], [1, -2]], atol=1e-12)


@pytest.fixture(scope="module")
def passages(critical):
    return himmelblau.pass_saddle(critical)


@pytest.mark.parametrize(("name", "steps"), [("plain", 317), ("momentum", 83)])
def test_saddle_is_left_as_fast_as_theory_has_it(passages, name, steps):
    distances, factor = passages[name].escape
    ratios = distances[40:60] / distances[39:59]  # after the first steps, in which momentum gathers speed
    assert float(ratios.log().mean().exp()) == pytest.approx(factor, rel=1e-3)
    assert int((distances > 0.5).nonzero()[0]) == steps


def test_plain_descent_slows_near_the_saddle_and_momentum_passes_it(passages, critical):
    saddle = critical.of_kind("saddle")[0]
    nearest = {name: (passage.path - saddle).norm(dim=1) for name, passage in passages.items()}
    assert nearest["plain"].min() < 1e-3
    assert (nearest["plain"] < 0.1).sum() > 100
    assert (nearest["momentum"] < 0.1).sum() == 0


def test_path_is_that_of_the_heavy_ball_by_hand():
    start = torch.tensor([1.0, -2.0], dtype=torch.float64)
    path = sgd_path(himmelblau.himmelblau, start, 0.003, 0.9, 5).numpy()
    point, speed = np.array([1.0, -2.0]), np.zeros(2)
    for step in range(1, 6):
        speed = 0.9 * speed + np.array(gradient(point))
        point = point - 0.003 * speed
        np.testing.assert_allclose(path[step], point, rtol=1e-12)


def test_f_at_the_origin_and_its_gradient():
    points = torch.tensor([[0.0, 0.0], [1.0, -2.0]], dtype=torch.float64, requires_grad=True)
    values = himmelblau.himmelblau(points)
    values.sum().backward()
    assert values.tolist() == [11**2 + 7**2, 12**2 + 2**2]
    np.testing.assert_allclose(points.grad, [gradient(point) for point in points.tolist()])


@pytest.mark.parametrize("name", himmelblau.RATES)
def test_each_start_descends_as_if_it_were_alone(name):
    starts = himmelblau.make_starts(2)
    together = himmelblau.descend(starts, 20, "constant", optimizer=name, **himmelblau.RATES[name])
    for number in (0, 3):
        point = starts[number].clone().requires_grad_()
        optimizer = build_optimizer(name, [point], **himmelblau.RATES[name])
        for _ in range(20):
            optimizer.zero_grad()
            himmelblau.himmelblau(point).backward()
            optimizer.step()
        torch.testing.assert_close(together.path[-1, number], point.detach(), rtol=1e-9, atol=1e-12)


def test_steps_are_counted_from_the_last_time_outside():
    start = torch.tensor([[2.5, 2.5]], dtype=torch.float64)
    outcome = himmelblau.descend(start, 100, "constant", optimizer="sgd", **himmelblau.RATES["sgd"])
    distances = (outcome.path[:, 0] - torch.tensor([3.0, 2.0])).norm(dim=1)  # (101,)
    steps = int(outcome.steps)
    assert bool(outcome.arrived)
    assert distances[steps - 1] > 1e-4
    assert (distances[steps:] <= 1e-4).all()


def test_a_start_in_a_minimum_needs_no_step():
    outcome = himmelblau.descend(himmelblau.MINIMA, 3, "constant", optimizer="sgd", lr=0.001)
    assert outcome.steps.tolist() == [0, 0, 0, 0]
    assert outcome.minimum.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "adagrad", "adam"])
def test_each_minimum_is_reached(run, name):
    metrics, _ = run
    assert metrics[name]["arrived"] >= 84  # of 81 + 5 starts
    assert min(metrics[name]["by_minimum"]) >= 10


@pytest.mark.parametrize(
    ("name", "median"), [("sgd", 21), ("momentum", 190), ("nesterov", 75), ("adagrad", 30), ("adam", 189)]
)
def test_median_steps_are_those_of_the_header(run, name, median):
    metrics, _ = run
    assert metrics[name]["median_steps"] == pytest.approx(median, rel=0.15)


@pytest.mark.slow
def test_sgd_brings_all_default_starts_to_a_minimum_in_87_steps(tmp_path):
    flags = ["--optimizer", "sgd", "--steps", "90", "--run_dir", str(tmp_path)]
    row = cli(himmelblau.main, None, flags)["optimizers"]["sgd"]
    assert (row["arrived"], row["median_steps"], row["most_steps"]) == (6566, 21, 87)


def test_every_start_is_counted_once(run):
    metrics, path = run
    for row in metrics.values():
        assert row["arrived"] + row["not_settled"] + row["diverged"] == 86
        assert sum(row["by_minimum"]) == row["arrived"]
    assert json.loads((path / "metrics.json").read_text())["optimizers"] == metrics
    for name in ("trajectories", "basins", "arrivals", "surface", "critical_points", "saddle"):
        assert (path / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_rmsprop_settles_only_when_its_rate_falls(run):
    metrics, _ = run
    starts = himmelblau.make_starts(9)
    falling = himmelblau.descend(starts, 1000, "linear", optimizer="rmsprop", **himmelblau.RATES["rmsprop"])
    assert metrics["rmsprop"]["not_settled"] >= 10
    assert falling.arrived.all()


def test_momentum_takes_about_190_steps_at_each_rate_at_which_it_oscillates():
    # Where it oscillates, the heavy ball's distance shrinks by sqrt(0.9) a step: by 1e-4 / 2 in 2 ln(5e-5) / ln 0.9.
    starts = himmelblau.make_starts(5)
    medians = [
        himmelblau.descend(starts, 400, "constant", optimizer="momentum", lr=lr).steps.median() for lr in (1e-3, 3e-3)
    ]
    assert medians == pytest.approx([188, 188], rel=0.05)


def test_momentum_is_slower_at_a_rate_so_small_that_it_does_not_oscillate(critical):
    # The distance shrinks by the larger root of z^2 - (1.9 - rate * curvature) z + 0.9, which is real for such rates.
    rate, curvature = 3e-5, float(critical.curvatures[0].min())
    root = max(np.roots([1, -(1.9 - rate * curvature), 0.9]))
    start = critical.points[:1] + 0.1
    path = himmelblau.descend(start, 400, "constant", optimizer="momentum", lr=rate).path[:, 0]
    distances = (path - critical.points[0]).norm(dim=1)
    assert float(distances[400] / distances[300]) ** 0.01 == pytest.approx(root, abs=1e-4)
    assert np.sqrt(0.9) < 0.99 < root


@pytest.mark.parametrize(("name", "steps", "share"), [("sgd", 60, 0.90), ("momentum", 200, 0.63)])
def test_share_of_starts_that_come_to_the_nearest_minimum(name, steps, share):
    torch.manual_seed(0)
    starts = himmelblau.make_starts(25)
    outcome = himmelblau.descend(starts, steps, "constant", optimizer=name, **himmelblau.RATES[name])
    assert (outcome.minimum == himmelblau.nearest(starts)[0]).double().mean() == pytest.approx(share, abs=0.03)


def test_too_high_a_rate_counts_as_diverged():
    outcome = himmelblau.descend(himmelblau.make_starts(5), 100, "constant", optimizer="sgd", lr=0.1, momentum=0.0)
    row = himmelblau.summarise(outcome)
    assert (row["diverged"], row["not_settled"], row["arrived"]) == (30, 0, 0)
    assert row["median_steps"] is None


def test_seed_moves_each_start_within_its_cell():
    torch.manual_seed(0)
    first = himmelblau.make_starts(6)[5:]
    torch.manual_seed(1)
    second = himmelblau.make_starts(6)[5:]
    assert not torch.equal(first, second)
    cells = torch.cartesian_prod(torch.arange(6), torch.arange(6)).flip(1)  # x fastest
    assert torch.equal(((first + 6) / 2).floor().long(), cells)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--optimizer", "adm"], "optimizer 'adm': no such optimizer; did you mean adam?"),
        (["--optimizer", "sgd,muon"], "optimizer 'muon'"),
        (["--lr", "0"], "lr 0.0: must be positive"),
        (["--lr", "-0.1"], "lr -0.1: must be at least 0"),
        (["--steps", "0"], "steps 0: must be at least 1"),
        (["--side", "0"], "side 0: must be at least 1"),
        (["--lr_decay", "plateau"], "lr_decay plateau: there is no validation"),
        (["--lr_decay", "cosin"], "lr_decay 'cosin': no such schedule"),
    ],
)
def test_bad_flag_ends_with_one_line_and_writes_nothing(refusal, flags, named):
    assert named in refusal(himmelblau.main, *flags)
