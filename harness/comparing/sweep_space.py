"""`--vary`: which values a flag may have in a sweep.

lr=1e-3..1e-1:log      any number between, by orders of magnitude
momentum=0.8..0.99     any number between
max_epochs=5..20       any whole number between, as both ends are whole
batch_size=128,256     one of these
augment=flip|crop:4,flip           one of these, which may contain commas
"""

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from basics.errors import InputError

if TYPE_CHECKING:
    from random import Random

    from optuna import Trial

NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"


class Between(NamedTuple):
    """Numbers from `low` to `high`, both included."""

    low: float
    high: float
    log: bool
    whole: bool

    @property
    def examples(self) -> list[str]:
        return [str(int(end) if self.whole else end) for end in (self.low, self.high)]

    @property
    def cardinality(self) -> float:
        return self.high - self.low + 1 if self.whole else math.inf

    def draw(self, random: "Random") -> float:
        ends = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        if self.whole and not self.log:
            return random.randint(int(self.low), int(self.high))
        value = random.uniform(*ends)
        value = min(max(math.exp(value) if self.log else value, self.low), self.high)
        return round(value) if self.whole else value

    def suggest(self, trial: "Trial", name: str) -> Any:
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)


class OneOf(NamedTuple):
    """Values as typed on the command line."""

    examples: list[str]

    @property
    def cardinality(self) -> float:
        return len(self.examples)

    def draw(self, random: "Random") -> str:
        return random.choice(self.examples)

    def suggest(self, trial: "Trial", name: str) -> Any:
        return trial.suggest_categorical(name, self.examples)


def parse_vary(texts: Sequence[str]) -> dict[str, Between | OneOf]:
    """The values that each flag may have.

    Raises:
        InputError: a text that says nothing of this kind, or a flag twice.
    """
    if not texts:
        raise InputError("--vary: name at least one flag, such as lr=1e-3..1e-1:log")
    space: dict[str, Between | OneOf] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals or not re.fullmatch(r"[A-Za-z_][\w.]*", name) or not values:
            raise InputError(f"--vary {text}: must be like lr=1e-3..1e-1:log, momentum=0.8..0.99 or batch_size=128,256")
        if name in space:
            raise InputError(f"--vary {text}: {name} is there twice")
        space[name] = _parse(text, values)
    return space


def _parse(text: str, values: str) -> Between | OneOf:
    if ".." not in values or "," in values or "|" in values:  # ../a.ckpt,../b.ckpt are two files
        choices = [value.strip() for value in values.split("|" if "|" in values else ",")]
        if len(set(choices)) < max(2, len(choices)) or "" in choices:
            raise InputError(f"--vary {text}: must name two values or more, each once")
        return OneOf(choices)
    match = re.fullmatch(rf"({NUMBER})\.\.({NUMBER})(:log)?", values)
    if not match:
        raise InputError(f"--vary {text}: a range is two numbers, LOW..HIGH or LOW..HIGH:log")
    low, high, log = float(match[1]), float(match[2]), bool(match[3])
    if low >= high:
        raise InputError(f"--vary {text}: {match[1]} is not below {match[2]}")
    if log and low <= 0:
        raise InputError(f"--vary {text}: with log, both ends must be above 0")
    return Between(low, high, log, all(re.fullmatch(r"[+-]?\d+", end) for end in match.groups()[:2]))
