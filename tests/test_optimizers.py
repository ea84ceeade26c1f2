"""Optimizers: their first steps against the textbook, and what they refuse."""

from math import sqrt

import pytest
import torch

from lit_modules.optimizers import OPTIMIZERS, build_optimizer

LR, MOMENTUM, START = 0.1, 0.9, 2.0


def gradient(w):
    return 3 * (w - 1)  # of 3/2 (w - 1)^2


def steps_of(name, loss=lambda w: 1.5 * (w - 1) ** 2, steps=3, **options):
    """The values of one parameter after each step."""
    w = torch.tensor([START], dtype=torch.float64, requires_grad=True)
    optimizer, values = build_optimizer(name, [w], LR, **options), []
    for _ in range(steps):
        optimizer.zero_grad()
        loss(w).sum().backward()
        optimizer.step()
        values.append(w.item())
    return values


# Each takes a parameter and its state over one step, in plain arithmetic; the state starts at 0.


def sgd(w, t, velocity=0):  # with Nesterov's momentum, as in Sutskever et al. 2013, written as torch does
    velocity = MOMENTUM * velocity + gradient(w)
    return w - LR * (gradient(w) + MOMENTUM * velocity), velocity


def nesterov(w, t, velocity=0):
    return sgd(w, t, velocity)


def momentum(w, t, velocity=0):  # Polyak 1964
    velocity = MOMENTUM * velocity + gradient(w)
    return w - LR * velocity, velocity


def adam(w, t, m=0, v=0):  # Kingma and Ba 2015, algorithm 1
    m, v = 0.9 * m + 0.1 * gradient(w), 0.999 * v + 0.001 * gradient(w) ** 2
    return w - LR * (m / (1 - 0.9**t)) / (sqrt(v / (1 - 0.999**t)) + 1e-8), m, v


def adamw(w, t, m=0, v=0):  # Loshchilov and Hutter 2019, algorithm 2, with decay 0.5
    after, m, v = adam(w, t, m, v)
    return after - LR * 0.5 * w, m, v


def rmsprop(w, t, v=0, velocity=0):  # Tieleman and Hinton 2012, with momentum
    v = 0.99 * v + 0.01 * gradient(w) ** 2
    velocity = MOMENTUM * velocity + gradient(w) / (sqrt(v) + 1e-8)
    return w - LR * velocity, v, velocity


def adagrad(w, t, total=0):  # Duchi et al. 2011
    total += gradient(w) ** 2
    return w - LR * gradient(w) / (sqrt(total) + 1e-10), total


def adadelta(w, t, v=0, u=0):  # Zeiler 2012, algorithm 1, with a learning rate
    v = 0.9 * v + 0.1 * gradient(w) ** 2
    change = sqrt(u + 1e-6) / sqrt(v + 1e-6) * gradient(w)
    return w - LR * change, v, 0.9 * u + 0.1 * change**2


@pytest.mark.parametrize(
    ("textbook", "options"),
    [
        (sgd, {}),
        (momentum, {}),
        (nesterov, {"nesterov": False}),  # the name says it
        (adam, {}),
        (adamw, {"weight_decay": 0.5}),
        (rmsprop, {}),
        (adagrad, {}),
        (adadelta, {}),
    ],
)
def test_first_steps_are_the_textbooks(textbook, options):
    expected, (w, *state) = [], [START]
    for t in (1, 2, 3):
        w, *state = textbook(w, t, *state)
        expected.append(w)
    assert steps_of(textbook.__name__, **options) == pytest.approx(expected, rel=1e-12)


def test_without_momentum_sgd_is_plain_descent():
    expected = [START - LR * gradient(START)]
    assert steps_of("sgd", steps=1, momentum=0.0, nesterov=True) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("name", "options"), [("sgd", {"nesterov": False}), ("momentum", {"nesterov": True})])
def test_momentum_without_nesterov(name, options):
    first = START - LR * gradient(START)
    second = first - LR * (MOMENTUM * gradient(START) + gradient(first))
    assert steps_of(name, steps=2, **options) == pytest.approx([first, second], rel=1e-12)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS.keys() - {"adamw", "muon"}))
def test_weight_decay_is_the_l2_penalty(name):
    penalised = steps_of(name, loss=lambda w: 1.5 * (w - 1) ** 2 + 0.5 / 2 * w**2)
    assert steps_of(name, weight_decay=0.5) == pytest.approx(penalised, rel=1e-12)
    assert steps_of(name) != pytest.approx(penalised, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "options", "named"),
    [
        ("sgdd", {}, "optimizer 'sgdd'.*did you mean sgd.*adadelta"),
        ("sgd", {"lr": -1}, "sgd.*learning rate.*-1"),
        ("adam", {"lr": float("nan")}, "adam.*learning rate.*nan"),
        ("sgd", {"momentum": -1}, "sgd.*momentum.*-1"),
        ("nesterov", {"momentum": 0}, "nesterov.*requires a momentum"),
        ("rmsprop", {"momentum": -1}, "rmsprop.*momentum.*-1"),
        ("adamw", {"weight_decay": -1}, "adamw.*weight_decay.*-1"),
    ],
)
def test_bad_option_is_named(name, options, named):
    with pytest.raises(ValueError, match=named):
        build_optimizer(name, [torch.zeros(1, requires_grad=True)], **{"lr": LR, **options})
