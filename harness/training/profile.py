"""`--profiler simple`: where the time goes, in a table that fits the terminal; Lightning's own is 162 columns wide."""

import math
import re
from typing import Any

from lightning.pytorch.profilers import SimpleProfiler

from basics.amounts import amount
from basics.terminal import columns

HEAD = f"{'seconds':>9}  {'share':>6}  {'calls':>7}  {'mean ms':>9}  action"
LEAST = 0.001  # share of the time below which an action has no line


class NarrowProfiler(SimpleProfiler):
    """Lightning's `SimpleProfiler` with a summary of one line for each action, those that took longest first."""

    stage = ""

    def setup(self, stage: str, *args: Any, **kwargs: Any) -> None:
        super().setup(stage, *args, **kwargs)
        self.stage = f"{stage.upper()} "

    def summary(self) -> str:
        durations = {name: (math.fsum(its), len(its)) for name, its in self.recorded_durations.items() if its}
        # Actions lie within others, so their shares add up to more than the whole.
        whole = max((total for total, _ in durations.values()), default=0.0) or math.inf
        ordered = sorted(durations.items(), key=lambda each: -each[1][0])
        lines = [
            f"{total:9.3f}  {total / whole:6.1%}  {calls:7,}  {1000 * total / calls:9.3f}  {_short(name)}"
            for name, (total, calls) in ordered
            if total >= LEAST * whole
        ]
        rest = f"and {amount(len(ordered) - len(lines), 'action')} of less than {LEAST:.1%}"
        return "\n".join(line[: columns()] for line in [f"{self.stage}Profiler Report", HEAD, *lines, rest])


def _short(name: str) -> str:
    """Such as Classifier.backward, without the kind before it in brackets, and without a callback's options."""
    return re.sub(r"^\[\w+\]|\{.*\}", "", name)
