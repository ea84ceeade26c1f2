"""How many digits of a number are kept."""

import numpy as np


def rounded(value: float) -> float:
    """The number to six decimals, or below 1 to seven significant digits: six decimals would make 0 of small ones."""
    return round(float(value), 6) if abs(value) >= 1 else float(f"{value:.7g}")


def rounded_each(values: np.ndarray) -> np.ndarray:
    """The same of each number, float64."""
    return np.array([rounded(value) for value in values.ravel()]).reshape(values.shape)
