"""The update rule of each optimizer, as a line of text, and what the optimizer itself makes of one weight."""

from collections.abc import Mapping
from textwrap import wrap
from typing import Any

import torch

from lit_modules.optimizers import build_optimizer

WEIGHT, GRADIENT = 2.0, 3.0
ROOM = 58  # characters of a rule in a line

# For a weight w with gradient g. Sums of gradients are v and m, of their squares s, and of squared steps u.
RULES = {
    "sgd": "w = w - lr g",
    "momentum": "v = 0.9 v + g;  w = w - lr v",
    "nesterov": "v = 0.9 v + g;  w = w - lr (g + 0.9 v)",
    "adagrad": "s = s + g^2;  w = w - lr g / sqrt(s)",
    "rmsprop": "s = 0.99 s + 0.01 g^2;  w = w - lr g / sqrt(s)",
    "adadelta": "s = 0.9 s + 0.1 g^2;  d = g sqrt(u / s);  w = w - lr d;  u = 0.9 u + 0.1 d^2",
    "adam": "m = 0.9 m + 0.1 g;  s = 0.999 s + 0.001 g^2;  w = w - lr m' / sqrt(s'), with m' = m / (1 - 0.9^t) and"
    " s' = s / (1 - 0.999^t) at step t",
    "adamw": "w = w - lr 0.01 w, then as adam",
    "muon": "in hidden layers, the matrix of nesterov's steps made orthogonal; elsewhere as adam, with 0.95 for 0.999",
}


def first_step(name: str, options: Mapping[str, Any]) -> float:
    """Where the optimizer, with its `options`, takes the weight `WEIGHT` with the gradient `GRADIENT`."""
    weight = torch.tensor([WEIGHT], dtype=torch.float64, requires_grad=True)
    weight.grad = torch.tensor([GRADIENT], dtype=torch.float64)
    build_optimizer(name, [weight], **options).step()
    return weight.item()


def print_rules(options: Mapping[str, Mapping[str, Any]]) -> None:
    """A table of the optimizers with these names and options, in 80 columns."""
    print(f"\n{'optimizer':<11}{'what a step does to a weight w with gradient g':<{ROOM}}{'w=2, g=3':>11}")
    for name, its in options.items():
        line, *others = wrap(RULES[name], ROOM - 1)
        print(f"{name:<11}{line:<{ROOM}}{first_step(name, its):>11.6f}")
        for other in others:
            print(f"{'':<11}{other}")
    print(
        "v, m, s, u begin at 0; a little is added so that nothing is divided by 0.\n"
        "Last column: what the first step makes of w, at the rate lr of each optimizer.\n",
        flush=True,
    )
