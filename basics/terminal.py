"""How wide the output may be, and how long a number in it."""

import math
import shutil

NO_LIMIT = 10_000  # columns of a file


def columns() -> int:
    """The columns of the terminal, or of $COLUMNS if that is set; a file has no limit."""
    return shutil.get_terminal_size((NO_LIMIT, 0)).columns


def short_number(value: float) -> str:
    """Four decimals, fewer from 10 on so that five digits stay, and none from 10,000 on: 0.0857, 61.735, 214,340."""
    size = abs(value)
    if not math.isfinite(value) or size >= 1e7 or 0 < size < 5e-5:
        return f"{value:.4g}"
    decimals = 4 - max(0, math.floor(math.log10(size))) if size else 4
    return f"{value:,.{max(0, decimals)}f}"


def rough_number(value: float) -> str:
    """Four digits, or all of the whole part if that has more: 0.0857, 61.73, 214,340."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def figure_text(name: str, value: float) -> str:
    """A metric's value: accuracies in percent, others as short numbers."""
    return f"{value:.2%}" if name in ("acc", "balanced_acc") else short_number(value)
