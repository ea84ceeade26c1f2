"""The page of measured results, docs/results.md: a section for each data set, made from the files of finished runs.

A line of its tables is one configuration with all its seeds: what it took, what it reached, and its command. A run
without its files has no line, and a figure that no run produced cannot be among them.
"""

import json
import shlex
import statistics
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from basics.errors import InputError
from harness.comparing.comparison import (
    CLEARER,
    Group,
    Kind,
    choose_metric,
    group_runs,
    in_own_folder,
    kind_of,
    once_each,
    short_labels,
)
from harness.comparing.run_files import Run, flatten, mode_of, number
from harness.comparing.scripts import check_flags, find_script
from harness.comparing.tables import format_mean, seeds_of
from harness.runs.kept_flags import alike
from harness.runs.layout import ROBUSTNESS

HEAD = """# Measured results

Made from the `config.yaml`, `metrics.json` and `robustness.json` of each run in {folders} by

    python experiments/compare.py {folders} --results

Flags and epochs were chosen on validation images or held-out rows, and the test set was used once, at the end of each
run. `±` is the standard deviation over the seeds. A command makes the run of its first seed; what it does not name is
as in the network's recipe.
"""
NOTE = "note.md"  # beside the runs of a script: what a reader of their figures has to know
CHIEF = {"metric_learning": "test/precision_at_1"}  # what a line is read for, where it is not what chose the epochs
PERCENT = ("acc", "precision_at_1")
VERSIONS = ("python", "torch", "lightning")
CHOOSERS = ("net", "data", "loss", "optimizer")  # flags on which the defaults of others depend, in this order
PLACES = {"run_dir", "data_dir", "name", "jobs", "started_by", "own_callbacks", "seed"}
ROUNDS = 6  # of asking a script for its defaults


class Line(NamedTuple):
    """One configuration of a section."""

    label: str
    runs: list[Run]  # in the order of their seeds
    command: str

    def each(self, name: str, form: str = "{}") -> str:
        """The values of all runs, in their order; one if all are the same."""
        values = [form.format(run.metrics[name]) for run in self.runs]
        return values[0] if len(set(values)) == 1 else "; ".join(values)

    def values(self, name: str) -> list[float]:
        return [run.metrics[name] for run in self.runs]


def write_page(runs: Sequence[Run], folders: Sequence[str]) -> str:
    """The whole page, as Markdown.

    Args:
        folders: where the runs were found.

    Raises:
        InputError: a run cannot have a line, since it has not finished, say, or nobody could make it again.
    """
    for run in runs:
        _check(run)
    counted, again = once_each(_by_fold_seed(runs))
    if again:
        raise InputError(f"{again[0][0].path}: {again[0][1]}; keep the files of one of them")
    sections: defaultdict[Kind, list[Run]] = defaultdict(list)
    for run in counted:
        sections[kind_of(run)].append(run)
    return "\n".join(
        [HEAD.format(folders=" ".join(folders)), *(_section(kind, its) for kind, its in sorted(sections.items()))]
    )


def _check(run: Run) -> None:
    commit = run.metrics.get("git_commit")
    if run.problem:
        raise InputError(f"{run.path}: {run.problem}")
    if not run.flags.get("started_by"):
        raise InputError(f"{run.path}: was started from Python, so there is no command that makes it again")
    if not commit or commit.endswith("-dirty"):
        raise InputError(f"{run.path}: was made by {'changed code' if commit else 'code outside git'}, not by a commit")
    if (times := run.metrics.get("test_evaluations") or 1) > 1:
        raise InputError(f"{run.path}: has used the test set {times} times; its earlier figures may have led to these")


def _by_fold_seed(runs: Sequence[Run]) -> list[Run]:
    """Cross-validated runs count by the seed that deals their samples to folds, unless some differ in the usual one."""
    seeded = {kind_of(run) for run in runs if run.flags.get("folds") and run.seed}
    return [
        run._replace(flags={**run.flags, "seed": run.flags["fold_seed"], "fold_seed": None})
        if run.flags.get("folds") and kind_of(run) not in seeded
        else run
        for run in runs
    ]


def _section(kind: Kind, runs: Sequence[Run]) -> str:
    chosen = choose_metric(runs)
    for run in runs:
        if chosen and number(run.metrics.get(chosen)) is None:
            raise InputError(f"{run.path}: has no {chosen}, which others of its section have")
    groups = group_runs(runs, chosen, mode_of(chosen or "", runs[0].flags))
    labels = [label.replace("net=", "") for label in short_labels(groups)]
    labels = labels if len(labels) > 1 else [runs[0].flags.get("net") or labels[0]]
    lines = [_line(label, group) for label, group in zip(labels, groups, strict=True)]
    tested = _tested(kind, chosen, runs)
    figures = [name for name in (chosen, tested) if name][-1 if chosen == tested else 0 :]
    heads = ["", "parameters", "epochs", "seconds", *figures[:-1], f"{tested} of each seed", tested]
    rows = [[*_cost(line), *(_mean(line, name) for name in figures[:-1]), *_result(line, tested)] for line in lines]
    made = [[line.label, f"`{line.command}`", seeds_of(line.runs), *_made(line)] for line in lines]
    tables = [_table(heads, rows), _table(["", "command", "seeds", "commit", "versions", "hardware"], made)]
    beside = dict.fromkeys(run.path.parent / NOTE for run in runs)
    notes = [path.read_text().strip() for path in beside if path.is_file()]
    return f"## {kind.title}\n\n" + "\n\n".join([*notes, *tables, *_robustness(lines)]) + "\n"


def _line(label: str, group: Group) -> Line:
    runs = sorted(group.runs, key=lambda run: run.seed)
    return Line(label, runs, _command(runs[0]))


def _tested(kind: Kind, chosen: str | None, runs: Sequence[Run]) -> str:
    """The figure that a line is read for: one on test data, or over all folds if there are no others."""
    wished = CHIEF.get(kind.script) or (chosen or "").replace("val/", "test/", 1)
    for name in (*CLEARER, wished) if wished.endswith("loss") else (wished, *CLEARER, chosen):
        if name and all(number(run.metrics.get(name)) is not None for run in runs):
            return name
    raise InputError(f"{kind.title}: its runs have no figure in common")


def _cost(line: Line) -> list[str]:
    return [line.label, line.each("parameters", "{:,}"), line.each("epochs"), line.each("seconds", "{:,.0f}")]


def _result(line: Line, name: str) -> list[str]:
    values = line.values(name)
    if name.endswith(PERCENT):
        return [", ".join(f"{100 * value:.2f}" for value in values) + " %", _mean(line, name)]
    return [", ".join(f"{value:.4f}" for value in values), _mean(line, name)]


def _mean(line: Line, name: str) -> str:
    values = line.values(name)
    spread = statistics.stdev(values) if len(values) > 1 else None
    return format_mean("acc" if name.endswith(PERCENT) else name, statistics.fmean(values), spread)


def _robustness(lines: Sequence[Line]) -> list[str]:
    """A table of what robustness.py has found of runs, the first seed of each line; none if it has not been asked."""
    found = {line.label: line.runs[0].path / ROBUSTNESS for line in lines}
    figures = {label: json.loads(path.read_text()) for label, path in found.items() if path.exists()}
    if not figures:
        return []
    changes = list(next(iter(figures.values()))["accuracy"])
    rows = [[label, _share(its["calibration_error"]), _share(its.get("calibration_error_at_temperature")),
             *(_share(its["accuracy"][change]) for change in changes)]
            for label, its in figures.items()]  # fmt: skip
    text = (
        "Expected calibration error, also at the temperature that validation chose, and accuracy on worse test images,"
        " of each line's first seed:"
    )
    return [text, _table(["", "error", "at temperature", *changes], rows)]


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


def _made(line: Line) -> list[str]:
    commits = dict.fromkeys(run.metrics["git_commit"][:8] for run in line.runs)
    versions = [f"{name} {line.each(name)}" for name in VERSIONS if all(name in run.metrics for run in line.runs)]
    return [", ".join(commits), ", ".join(versions), line.each("hardware")]


def _command(run: Run) -> str:
    """What makes the run, with no more flags than differ from the recipe.

    Raises:
        InputError: the script of today cannot make it.
    """
    script = run.flags["started_by"]
    seed = "fold_seed" if run.flags.get("folds") and run.flags["fold_seed"] is None else "seed"
    words: list[str] = [run.flags["checkpoint"]] if "checkpoint" in run.flags else []
    of_checkpoint = {"checkpoint", "net", "net_args", "init_from"} if words else set()
    for _ in range(ROUNDS):
        recipe = _recipe(run, words)
        aside = {*PLACES, seed, *of_checkpoint} - ({"data_dir"} if in_own_folder(run) else set())
        flags = {name: value for name, value in run.flags.items() if name.partition(".")[0] not in aside}
        wrong = {name for name, value in flags.items() if not alike(value, recipe.get(name))}
        if not wrong:
            break
        first = next((name for name in CHOOSERS if name in wrong), None)
        words += [word for name in ([first] if first else sorted(wrong)) for word in _typed(name, run.flags[name])]
    else:
        raise InputError(f"{run.path}: {script} of today cannot make it with --{min(wrong)} {run.flags[min(wrong)]}")
    return shlex.join(["python", f"experiments/{script}", *words, f"--{seed}", str(run.seed)])


def _recipe(run: Run, words: Sequence[str]) -> dict[str, Any]:
    """The flags of the run's script if it is given these words."""
    try:
        return _flags_of(run.flags["started_by"], tuple(words))
    except InputError as error:
        raise InputError(f"{run.path}: {run.flags['started_by']} of today cannot make it; {error}") from error


@cache
def _flags_of(script: str, words: tuple[str, ...]) -> dict[str, Any]:
    return flatten(check_flags(find_script(script), words, {}))


def _typed(name: str, value: Any) -> list[str]:
    if value is True:
        return [f"--{name}"]
    return [f"--{name}", value if isinstance(value, str) else json.dumps(value)]


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    is_number = [all(row[place][:1].isdigit() for row in rows) for place in range(len(heads))]
    lines = [heads, ["---:" if right else "---" for right in is_number], *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
