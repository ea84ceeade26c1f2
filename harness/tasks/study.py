"""What the studies share: experiments whose main output is a few figures and numbers.

    study = Study("himmelblau", flags, label="adam")
    ...
    return study.conclude({"lowest": 1.2e-9}, {"trajectories": figure})

The run directory is like any other: config.yaml, metrics.json, figures/*.png and the same pictures in TensorBoard.
"""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Trainer

from basics.tags import PICTURES
from basics.versions import git_commit
from harness.drawing.figures import save_figures
from harness.runs.directories import new_run, write_config
from harness.runs.invocation import Invoked, kept_by
from harness.runs.layout import METRICS
from harness.runs.names import run_label
from harness.training.report import log_figures, logged_run, write_json
from harness.training.run_texts import write_results
from harness.training.silence import silence_libraries

if TYPE_CHECKING:
    from matplotlib.figure import Figure

silence_libraries()


def quiet_trainer(**options: Any) -> Trainer:
    """A Trainer for a small problem: it runs on one CPU device, and writes and prints nothing."""
    return Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )


@dataclass(frozen=True, kw_only=True)
class StudyFlags(Invoked):
    """Where a study leaves its results.

    Args:
        run_dir: folder that holds all runs.
        name: a name for this run, which stands in that of its directory.
    """

    run_dir: str = "runs"
    name: str | None = None


class Study:
    """A run directory below `run_dir`/`name`, created and announced at once; its own name ends in `label`.

    Args:
        started: when the study started, by `time.perf_counter`, if it computed or checked something before; else now.
        try_next: flags that show more, with the reason as a comment; printed at the end, as a command.
    """

    def __init__(
        self, name: str, flags: StudyFlags, label: str, started: float | None = None, try_next: str = ""
    ) -> None:
        self.started = time.perf_counter() if started is None else started
        self.name, self.try_next = name, try_next
        self.kept, self.command = kept_by(flags), flags.invocation.command
        self.name, self.run = name, new_run(name, flags.run_dir, run_label(label, flags.name, {}))
        write_config(self.run, self.kept)
        print(f"run directory: {self.run}", flush=True)

    def conclude(self, metrics: dict[str, Any], figures: dict[str, "Figure"]) -> dict[str, Any]:
        """Writes metrics.json and the figures, shows both in TensorBoard, prints the metrics, and returns them.

        The numbers among the metrics are printed. The text tab has them too, and mappings of mappings as tables; other
        plain data is in metrics.json only.
        """
        numbers = {name: value for name, value in metrics.items() if isinstance(value, int | float)}
        seconds = round(time.perf_counter() - self.started, 2)
        found = metrics
        metrics = found | {"seconds": seconds, "git_commit": git_commit(), "torch": torch.__version__}
        write_json(self.run / METRICS, metrics)
        folder = self.run / "figures"
        save_figures(figures, folder)
        with logged_run(self.run, self.kept, self.command) as logger:
            write_results(logger, self.name, found)
            log_figures(logger, f"{PICTURES}_of_{self.name}", figures)
        for name, value in numbers.items():
            print(f"{name}: {value:.6g}")
        print(*(folder / f"{name}.png" for name in figures), sep="\n")
        if self.try_next:
            print_next(self.name, self.try_next)
        return metrics


def print_next(script: str, flags: str) -> None:
    """Ends a study with a command to try.

    Args:
        flags: of the script, and after a # why.
    """
    command, _, why = flags.partition("  # ")
    print(f"\nto try next: {why}\n    python experiments/{script}.py {command}")
