"""What the classifications of images and of tables share: weights of the classes, and metrics to choose an epoch by."""

from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np

from basics.choose import choose
from datamodules.balance import WEIGHTS
from lit_modules.class_scores import FIGURES


class ClassFlags(Protocol):
    """The flags that this is about, of a dataclass."""

    @property
    def class_weights(self) -> str: ...
    @property
    def metrics(self) -> str: ...
    @property
    def monitor(self) -> str | None: ...


FlagsT = TypeVar("FlagsT", bound=ClassFlags)


def weights_for(flags: ClassFlags, labels: np.ndarray, num_classes: int) -> list[float] | None:
    """The weights that the flags ask for, from the labels of the training split, (N,); None for none.

    Raises:
        InputError: there are no such weights.
    """
    weigh = choose("class_weights", flags.class_weights, WEIGHTS)
    return weigh(labels, num_classes)


def with_monitored(flags: FlagsT) -> FlagsT:
    """The flags, with the monitored metric among the `metrics` if it is one that is not measured in each epoch."""
    name = (flags.monitor or "").removeprefix("val/")
    if name not in FIGURES or name in (part.strip() for part in flags.metrics.split(",")):
        return flags
    return replace(flags, metrics=",".join(filter(None, [flags.metrics, name])))  # type: ignore[type-var]
