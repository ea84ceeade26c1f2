"""What the studies share: experiments whose main output is a few figures and numbers.

    study = Study("himmelblau", flags)
    ...
    return study.conclude({"lowest": 1.2e-9}, {"trajectories": figure})

The run directory is like any other: config.yaml, metrics.json, figures/*.png and the same pictures in TensorBoard.
"""

import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Trainer

from basics.files import write_json
from basics.tags import PICTURES
from basics.versions import note_commit, versions
from harness.drawing.figures import publish
from harness.runs.directories import new_run, write_config
from harness.runs.invocation import Invoked, kept_by, plain, values
from harness.runs.layout import METRICS
from harness.runs.names import changed_flags, study_label
from harness.tasks.plain_names import in_words
from harness.training.report import logged_run
from harness.training.run_texts import write_results
from harness.training.silence import silence_libraries

if TYPE_CHECKING:
    from matplotlib.figure import Figure

silence_libraries()

# The studies in the order of the path for learners in README.md: what to try where nothing nearer is left.
PATH = (
    *("tensors", "autograd", "linear_regression", "perceptron", "logistic_regression", "from_scratch"),
    *(
        "information",
        "backpropagation",
        "himmelblau",
        "optimizers",
        "activations",
        "normalisation",
        "depth",
        "convolution",
    ),
    *("invariance", "data_loading", "augmentations", "overfitting", "metric_learning", "segmentation"),
)


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
    """A run directory below `run_dir`/`name`, created and announced at once; its own name ends in the flags changed.

    Args:
        started: when the study started, by `time.perf_counter`, if it computed or checked something before; else now.
        try_next: flags that show more, with the reason as a comment; printed at the end, as a command.
    """

    def __init__(self, name: str, flags: StudyFlags, started: float | None = None, try_next: str = "") -> None:
        note_commit()
        self.started = time.perf_counter() if started is None else started
        self.name, self.try_next = name, try_next
        self.kept, self.command = kept_by(flags), flags.invocation.command
        changed = changed_flags(plain(values(flags)), plain(values(type(flags)())))
        self.run = new_run(name, flags.run_dir, study_label(flags.name, changed))
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
        metrics = found | {"seconds": seconds, **versions()}
        folder = self.run / "figures"
        with logged_run(self.run, self.kept, self.command) as logger:
            write_results(logger, self.name, _readable(found))
            publish(figures, folder, logger.experiment, group=f"{PICTURES}_of_{self.name}")
        write_json(self.run / METRICS, metrics)  # at last, as a run that has it lacks nothing
        for name, value in numbers.items():
            print(f"{in_words(name)}: {_shown(value)}")
        print(*(folder / f"{name}.png" for name in figures), sep="\n")
        if self.try_next:
            print_next(self.name, self.try_next, self.kept)
        return metrics


def _readable(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics by names in words; of mappings of mappings, the columns of a table, those too."""
    found = {in_words(str(name)): value for name, value in metrics.items()}
    tables = {name: rows for name, rows in found.items() if isinstance(rows, Mapping)}
    for name, rows in tables.items():
        found[name] = {row: _readable(its) if isinstance(its, Mapping) else its for row, its in rows.items()}
    return found


def _shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def print_next(script: str, try_next: str, given: Mapping[str, Any]) -> None:
    """Ends a study with a command to try; if it has just been tried, with the next study.

    Args:
        try_next: flags of the script with their values, and after a # why.
        given: the flags of this run, as plain data.
    """
    flags, _, why = try_next.partition("  # ")
    if are_given(flags, given):
        follows = PATH[PATH.index(script) + 1 :] if script in PATH else ()
        if not follows:
            return
        script, flags, why = follows[0], "", "the next study"
    print(f"\nto try next: {why}\n    python experiments/{script}.py {flags}".rstrip())


def are_given(flags: str, given: Mapping[str, Any]) -> bool:
    """Whether all the flags, such as "--lr 0.1 --depths 6,50", have these values already."""
    words = shlex.split(flags)
    pairs = zip(words[::2], words[1::2], strict=True)
    return all(_typed(given.get(flag.removeprefix("--"))) == value for flag, value in pairs)


def _typed(value: Any) -> str:
    """A flag's value as one would type it."""
    if isinstance(value, list):
        return ",".join(map(_typed, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
