"""Schedules without a corner."""

import math

__all__ = ["constant", "cosine", "linear"]


def constant(progress: float) -> float:
    return 1.0


def linear(progress: float) -> float:
    """Down to 0 in a straight line."""
    return 1 - progress


def cosine(progress: float) -> float:
    """Down to 0 by half a cosine (Loshchilov and Hutter 2017, "SGDR")."""
    return 0.5 * (1 + math.cos(math.pi * progress))
