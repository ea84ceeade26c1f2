"""How a training on a table follows from its number of rows, where the flags leave it open.

All figures were chosen on the tables of benchmarks/tables.yaml together, none for a table of its own: small ones need
much dropout and few steps, large ones the opposite.
"""

import math
from typing import Any, TypeVar

from harness.runs.invocation import changed
from harness.tasks.tabular import TabularFlags

BATCHES = 16  # of an epoch at least
SMALLEST, LARGEST = 32, 256  # rows in a batch
STEPS, LEAST_EPOCHS = 1000, 20
MOST = 3.5  # times as many steps
MEDIUM = 1000  # rows from which on there are more steps and less dropout
DROPOUT = 0.4  # up to there, in TabM
ROWS_A_BIN, FEWEST_BINS, MOST_BINS = 50, 16, 64  # of numbers that are embedded piecewise
LARGE = 3000  # rows from which on TabM has curves and fewer members, and many categories are squeezed
FURTHER = 1.5  # times the steps of smaller ones, for which fewer members leave time
MEMBERS, FEW_MEMBERS = 16, 4  # which learn more in as many steps than many do
SQUEEZE = 32
OPEN = {"size", "dropout", "bins", "curves", "squeeze"}  # options of TabM that follow from the rows

FlagsT = TypeVar("FlagsT", bound=TabularFlags)


def is_open(flags: TabularFlags) -> bool:
    """Whether something is to follow from the number of rows."""
    lacks = flags.net == "tabm" and OPEN - {*(flags.net_args or {})}
    return not flags.batch_size or (flags.max_epochs == -1 and flags.max_steps == -1) or bool(lacks)


def suited(rows: int, flags: FlagsT) -> FlagsT:
    """The flags for so many training rows: a size of batches if it is 0, epochs if they are -1, and TabM's size,
    dropout, bins, curves and squeeze if `net_args` does not have them.
    """
    batch = flags.batch_size or min(max(SMALLEST, 2 ** int(math.log2(rows / BATCHES + 1))), LARGEST)
    epochs, more = flags.max_epochs, max(1.0, math.sqrt(rows / MEDIUM))
    if epochs == -1 and flags.max_steps == -1:
        times = min(more * (FURTHER if rows >= LARGE else 1), MOST)
        epochs = max(LEAST_EPOCHS, math.ceil(STEPS * times / max(1, rows // batch)))
    return changed(flags, batch_size=batch, max_epochs=epochs, net_args=_of_net(rows, flags, more))


def _of_net(rows: int, flags: TabularFlags, more: float) -> dict[str, Any] | None:
    if flags.net != "tabm":
        return flags.net_args
    bins = min(max(FEWEST_BINS, rows // ROWS_A_BIN), MOST_BINS)
    given = flags.net_args or {}
    size = FEW_MEMBERS if rows >= LARGE else MEMBERS
    of_large = {"curves": True, "squeeze": SQUEEZE} if rows >= LARGE and given.get("embedding") == "piecewise" else {}
    return {"size": size, "dropout": round(DROPOUT / min(more, 4), 2), "bins": bins, **of_large, **given}
