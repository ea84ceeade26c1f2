"""Which class a prediction names: the likeliest, or of two the second from the probability on that validation chose."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from basics.errors import InputError
from harness.runs.layout import METRICS, run_of
from harness.runs.states import read_metrics
from lit_modules.class_scores import decided


class Decision(NamedTuple):
    """How a class follows from probabilities, (N, C).

    Attributes:
        threshold: see `class_scores.decided`.
        line: says so; "" where it is the likeliest class.
    """

    threshold: float | None = None
    line: str = ""

    def of(self, probabilities: np.ndarray) -> np.ndarray:
        return decided(probabilities, self.threshold)


LIKELIEST = Decision()


def decision_for(checkpoints: Sequence[Path], classes: Sequence[str], asked: float | None) -> Decision:
    """The threshold asked for, or that of the run of a single checkpoint; of other runs, the likeliest class.

    Args:
        checkpoints: whose mean predicts.
        classes: none where numbers or several labels are predicted.

    Raises:
        InputError: a threshold is asked for that is no probability, or of other than two classes.
    """
    if asked is not None:
        if len(classes) != 2:
            raise InputError(f"--threshold {asked}: is for two classes; there are {len(classes) or 'none'} here")
        if not 0 < asked < 1:
            raise InputError(f"--threshold {asked}: must be between 0 and 1")
        return Decision(asked, f"{classes[1]} is named from a probability of {asked:g} on")
    chosen = _chosen(checkpoints[0]) if len(classes) == 2 and len(checkpoints) == 1 else None
    if chosen is None:
        return LIKELIEST
    start = f"{classes[1]} is named from a probability of {chosen:.3f} on, as validation chose"
    return Decision(chosen, f"{start}; --threshold 0.5 takes the likelier class")


def _chosen(checkpoint: Path) -> float | None:
    """What the run's validation chose for the weights of this checkpoint, if it did."""
    run = run_of(checkpoint)
    if not (run / METRICS).is_file():
        return None
    metrics = read_metrics(run)
    best = checkpoint.name.partition(".")[0] == "best"  # best.small.ckpt too
    if best != ("best_epoch" in metrics):  # else the figures are of other weights
        return None
    return metrics.get("val/threshold")
