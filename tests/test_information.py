"""Entropies against scipy, the parts of a training's loss against torch and closed forms, epsilons against calculus."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy as scipys

from experiments import information
from experiments.fundamentals.entropies import BIT, cross_entropy, divergence, entropy, floor, smoothed
from experiments.fundamentals.entropies import information as information_of
from experiments.fundamentals.information_figures import coin, die
from experiments.fundamentals.log_of_zero import curve_of, half_slope, losses
from experiments.fundamentals.smoothed_training import parts_of
from harness.command_line.cli import cli


def some_distributions(count=50, classes=7):
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, count, classes, generator=generator, dtype=torch.float64)
    return logits.softmax(-1)


def test_entropies_are_scipys_and_add_up():
    p, q = some_distributions()
    np.testing.assert_allclose(entropy(p), scipys(p.numpy(), axis=1), atol=1e-14)
    np.testing.assert_allclose(divergence(p, q), scipys(p.numpy(), q.numpy(), axis=1), atol=1e-14)
    np.testing.assert_allclose(cross_entropy(p, q), entropy(p) + divergence(p, q), atol=1e-12)
    assert (divergence(p, q) > 0).all()
    assert divergence(p, p).abs().max() == 0


def test_what_cannot_occur_adds_nothing_and_what_is_excluded_and_occurs_is_infinite():
    p = torch.tensor([[0.5, 0.5, 0.0]], dtype=torch.float64)
    q = torch.tensor([[0.0, 0.5, 0.5]], dtype=torch.float64)
    assert entropy(p).item() / BIT == pytest.approx(1)
    assert divergence(p, p).item() == 0
    assert divergence(p, q).item() == cross_entropy(p, q).item() == math.inf


def test_fair_coin_has_one_bit_and_a_fair_die_the_logarithm_of_six():
    half, sixth = (torch.tensor(value, dtype=torch.float64) for value in (1 / 2, 1 / 6))
    assert entropy(coin(half)).item() / BIT == pytest.approx(1)
    assert entropy(die(sixth)).item() / BIT == pytest.approx(math.log2(6))
    assert information_of(half * sixth).item() == pytest.approx(math.log(12))  # of both: log 2 + log 6
    p = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    assert p[entropy(coin(p)).argmax()] == pytest.approx(0.5)
    assert p[entropy(die(p)).argmax()] == pytest.approx(1 / 6, abs=1e-3)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3, 1.0])
def test_floor_is_the_entropy_on_paper_and_no_loss_of_torch_is_below_it(smoothing):
    top, rest = 1 - smoothing + smoothing / 10, smoothing / 10
    paper = -top * math.log(top) - (9 * rest * math.log(rest) if rest else 0)
    assert floor(smoothing, 10) == pytest.approx(paper)
    labels = torch.arange(10)
    best = smoothed(labels, 10, smoothing).clamp(min=1e-300).log()  # the logits whose softmax are the labels
    loss = torch.nn.functional.cross_entropy(best, labels, label_smoothing=smoothing).item()
    assert loss == pytest.approx(paper, abs=1e-12)
    moved = best.clamp(min=-30) + torch.linspace(-1, 1, 10, dtype=torch.float64)
    assert torch.nn.functional.cross_entropy(moved, labels, label_smoothing=smoothing).item() >= paper


def test_parts_of_a_loss_add_up_at_any_logits():
    generator = torch.Generator().manual_seed(0)
    logits = 5 * torch.randn(200, 10, generator=generator, dtype=torch.float64)
    labels = torch.randint(10, (200,), generator=generator)
    for smoothing in (0.0, 0.1, 0.5):
        parts = parts_of(logits, labels, smoothing)
        assert parts.gap() < 1e-12
        p, q = smoothed(labels, 10, smoothing).numpy(), logits.softmax(1).numpy()
        assert parts.divergence == pytest.approx(scipys(p, q, axis=1).mean())


def test_slopes_are_those_of_calculus():
    z = torch.linspace(-60, 20, 161)
    p = 1 / (1 + np.exp(-z.double().numpy()))
    for epsilon in (0, 1e-7, 1e-3):
        name = f"log(softmax + {epsilon:g})" if epsilon else "log_softmax"
        curve = curve_of(losses([epsilon] if epsilon else [])[name], z)
        np.testing.assert_allclose(curve.slope, -p * (1 - p) / (p + epsilon), atol=1e-6)
        np.testing.assert_allclose(curve.loss, -np.log(p + epsilon), atol=1e-5)


def test_slope_is_halved_at_the_logarithm_of_the_epsilon_and_lost_without_one():
    z = torch.linspace(-120, 20, 1401)
    places = {name: half_slope(curve_of(loss, z), z) for name, loss in losses([1e-7, 1e-3]).items()}
    assert places["log_softmax"] == -math.inf
    assert places["log(softmax + 1e-07)"] == pytest.approx(math.log(1e-7), abs=0.1)
    assert places["log(softmax + 0.001)"] == pytest.approx(math.log(1e-3), abs=0.1)
    largest = math.log(torch.finfo(torch.float32).max)  # 88.7, beyond which 1 / p is infinite
    assert places["log(softmax)"] == pytest.approx(-largest, abs=0.2)


def run(folder, *flags):
    metrics = cli(information.main, None, [*flags, "--run_dir", str(folder)])
    assert {path.stem for path in folder.glob("information/*/figures/*.png")} == {"coins", "floors", "epsilons"}
    return metrics


def test_loss_is_entropy_and_divergence_at_each_step_and_stays_above_its_floor(tmp_path, capsys):
    metrics = run(tmp_path, "--epochs", "3")
    assert 0 < metrics["largest_gap"] < 1e-12
    for smoothing in ("0", "0.1", "0.3"):
        assert metrics[f"smoothing{smoothing}/floor"] < metrics[f"smoothing{smoothing}/loss"]
    printed = capsys.readouterr().out.splitlines()
    assert printed[-2].startswith("to try next: ")
    assert [line.split()[-1] for line in printed if line.startswith("log_softmax")] == ["nowhere"]


@pytest.mark.slow
def test_trainings_end_where_the_header_says(tmp_path):
    metrics = run(tmp_path)
    assert metrics["largest_gap"] < 1e-12
    for smoothing, ends in {"0": 0.019, "0.1": 0.564, "0.3": 1.235}.items():
        assert metrics[f"smoothing{smoothing}/loss"] == pytest.approx(ends, abs=0.02)
        assert metrics[f"smoothing{smoothing}/acc"] > 0.92


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--label_smoothing", "[]"], "label_smoothing []: name at least one"),
        (["--label_smoothing", "[0.1, 1.5]"], "label_smoothing [0.1, 1.5]: must be from 0 to 1"),
        (["--epsilons", "[0]"], "epsilons [0.0]: must be above 0"),
        (["--lr", "0"], "lr 0: must be above 0"),
        (["--batch_size", "0"], "batch_size 0: must be at least 1"),
        (["--batch_size", "2000"], "batch_size 2000: there are only 1,293"),
        (["--lr", "1e300", "--epochs", "1"], "lr 1e+300: the training diverges"),
    ],
)
def test_bad_input_ends_with_one_line(refusal, flags, said):
    assert said in refusal(information.main, *flags)
