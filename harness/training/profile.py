"""`--profiler simple`: where the time goes, in a table that fits the terminal; Lightning's own is 162 columns wide."""

import math
import re
from typing import Any

from lightning.pytorch.profilers import SimpleProfiler

from basics.terminal import columns

HEAD = f"{'seconds':>9}  {'share':>6}  {'calls':>7}  {'mean ms':>9}  "


class NarrowProfiler(SimpleProfiler):
    """Lightning's `SimpleProfiler` with a summary of one line for each action, those that took longest first."""

    stage = ""

    def setup(self, stage: str, *args: Any, **kwargs: Any) -> None:
        super().setup(stage, *args, **kwargs)
        self.stage = f"{stage.upper()} "

    def summary(self) -> str:
        # Actions lie within others, so their shares add up to more than the whole.
        durations = {name: (math.fsum(its), len(its)) for name, its in self.recorded_durations.items() if its}
        whole = max((total for total, _ in durations.values()), default=0.0) or math.inf
        ordered = sorted(durations.items(), key=lambda each: -each[1][0])
        lines = [
            f"{total:9.3f}  {total / whole:6.1%}  {calls:7,}  {1000 * total / calls:9.3f}  {_short(name)}"
            for name, (total, calls) in ordered
        ]
        return "\n".join(line[: columns()] for line in [f"{self.stage}Profiler Report", f"{HEAD}action", *lines])


def _short(name: str) -> str:
    """The action's name without the options of a callback, as ModelCheckpoint's has them in braces."""
    return re.sub(r"\{.*\}", "", name)
