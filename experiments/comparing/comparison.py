"""Runs grouped by configuration: means and standard deviations over seeds, and tables of them."""

import csv
import io
import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from comparing.run_files import Run, lower_is_better, number

# Flags that make no configuration: the seed, and what changes neither weights nor metrics. `FREE` of resume.py is not
# the same: a run is resumed only with the checkpoints and pictures that were asked for.
ASIDE = {
    "seed", "run_dir", "resume", "jobs", "doctor", "enable_progress_bar", "stall_timeout",
    "pictures", "pictures_every", "histograms", "curves_by", "log_every_n_steps", "log_gradients",
    "checkpoint_epochs", "checkpoint_every", "checkpoint_minutes",
}  # fmt: skip


class Group(NamedTuple):
    """The finished runs of one configuration."""

    flags: dict[str, str]  # those in which the groups differ, as text
    runs: list[Run]

    def values(self, metric: str) -> list[float]:
        """Of the runs that have the metric."""
        return [value for run in self.runs if (value := number(run.metrics.get(metric))) is not None]

    def mean(self, metric: str) -> float | None:
        values = self.values(metric)
        return statistics.fmean(values) if values else None

    def std(self, metric: str) -> float | None:
        """Of the sample, with n - 1; None of a single run."""
        values = self.values(metric)
        return statistics.stdev(values) if len(values) > 1 else None


def choose_metric(runs: Sequence[Run]) -> str:
    """The test figure that goes with what most runs are monitored by; cross-validated ones and studies have their own.

    Raises:
        ValueError: no run has finished.
    """
    votes: Counter[str] = Counter()
    others = []
    for run in runs:
        names = [name for name in run.metrics if number(run.metrics[name]) is not None]
        tests = [name for name in names if name.startswith("test/") and name != "test/samples"]
        monitored = str(run.flags.get("monitor")).replace("val/", "test/", 1)
        scores = [name for name in names if name.startswith("cv/")]
        votes.update([monitored] if monitored in tests else (tests + scores)[:1])
        others += names[:1]
    if not votes and not others:
        paths = [str(run.path) for run in runs[:3]] + ["..."] * (len(runs) > 3)
        raise ValueError(f"{', '.join(paths)}: no run has finished")
    return votes.most_common(1)[0][0] if votes else others[0]


def group_runs(runs: Sequence[Run], metric: str) -> list[Group]:
    """The groups of runs that differ in nothing but the seed, the best mean of `metric` first."""
    texts = [{name: as_text(value) for name, value in _configuration(run).items()} for run in runs]
    names = sorted(dict.fromkeys(name for its in texts for name in its), key=lambda name: name != "net")  # that first
    differing = [name for name in names if len({its.get(name) for its in texts}) > 1]
    members: defaultdict[tuple[str, ...], list[Run]] = defaultdict(list)
    for its, run in zip(texts, runs, strict=True):
        members[tuple(its.get(name, "-") for name in differing)].append(run)
    groups = [Group(dict(zip(differing, values, strict=True)), its) for values, its in members.items()]
    said = next((run.flags for run in runs if run.flags.get("monitor_mode")), {})
    return sorted(groups, key=lambda group: group.mean(metric), reverse=not lower_is_better(metric, said))


def _configuration(run: Run) -> dict[str, Any]:
    """The flags that may change what comes out of a run; the data set's place does so only where it is the data set."""
    is_data = "own_images" in (run.script, run.flags.get("data"))
    aside = ASIDE if is_data else ASIDE | {"data_dir"}
    return {"script": run.script} | {name: value for name, value in run.flags.items() if name not in aside}


def as_text(value: Any) -> str:
    """A flag's value as one would type it."""
    return (value or "''") if isinstance(value, str) else json.dumps(value)


def short_labels(groups: Sequence[Group]) -> list[str]:
    """Such as "lr=0.1 batch_size=64", with no more flags than tell the groups apart, for a recipe sets many.

    The net is always among them, for the recipe's other flags follow from it.
    """
    names = list(groups[0].flags)
    for name in [name for name in reversed(names) if name != "net"]:
        fewer = [other for other in names if other != name]
        if len({tuple(group.flags[other] for other in fewer) for group in groups}) == len(groups):
            names = fewer
    return [" ".join(f"{name}={group.flags[name]}" for name in names) or group.runs[0].script for group in groups]


def write_table(groups: Sequence[Group], metrics: Sequence[str], kind: str) -> str:
    """The groups as text: a table, csv, markdown, or json with the paths of the runs.

    Args:
        metrics: columns besides the flags.
    """
    if kind == "json":
        return json.dumps([_plain(group, metrics) for group in groups], indent=2)
    if kind == "csv":
        return _write_csv(groups, metrics)
    rows = [[*groups[0].flags, "n", "seeds", *metrics]]
    for group in groups:
        figures = [format_mean(metric, group.mean(metric), group.std(metric)) for metric in metrics]
        rows.append([*group.flags.values(), str(len(group.runs)), seeds_of(group.runs), *figures])
    if kind == "markdown":
        rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
        rows.insert(1, ["---"] * len(groups[0].flags) + ["---:"] * (2 + len(metrics)))
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return align(rows, left=len(groups[0].flags))


def align(rows: Sequence[Sequence[str]], left: int = 0) -> str:
    """Lines of columns as wide as they must be, the first `left` ones to the left and the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = ["<"] * left + [">"] * (len(widths) - left)
    lines = [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)) for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def _plain(group: Group, metrics: Sequence[str]) -> dict[str, Any]:
    figures = {metric: {"mean": group.mean(metric), "std": group.std(metric)} for metric in metrics}
    paths = [str(run.path) for run in group.runs]
    configuration = _configuration(group.runs[0])
    flags = {name: configuration.get(name) for name in group.flags}
    return {"flags": flags, "n": len(group.runs), "seeds": seeds_of(group.runs), **figures, "runs": paths}


def _write_csv(groups: Sequence[Group], metrics: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [name for metric in metrics for name in (metric, f"{metric} std")]
    writer.writerow([*groups[0].flags, "n", "seeds", *columns])
    for group in groups:
        figures = [figure for metric in metrics for figure in (group.mean(metric), group.std(metric))]
        writer.writerow([*group.flags.values(), len(group.runs), seeds_of(group.runs), *figures])
    return text.getvalue().rstrip("\n")


def seeds_of(runs: Sequence[Run]) -> str:
    """Such as 0-4, or 0 0 3 where one was run twice."""
    seeds = sorted(run.seed for run in runs if isinstance(run.seed, int))
    in_turn = len(seeds) > 2 and seeds == list(range(seeds[0], seeds[0] + len(seeds)))
    return f"{seeds[0]}-{seeds[-1]}" if in_turn else " ".join(map(str, seeds))


def format_mean(metric: str, mean: float | None, std: float | None = None) -> str:
    """Accuracies in percent, such as 98.89 ± 0.12 %; of other figures four digits."""
    if mean is None:
        return "-"
    percent = metric.endswith("acc")
    scale = 100 if percent else 1
    digits = 2 if percent else 4 if abs(mean) < 100 else 1 if abs(mean) < 10_000 else 0
    if metric == "seconds":
        digits = 1 if mean < 100 else 0
    text = f"{scale * mean:,.{digits}f}" + (f" ± {scale * std:,.{digits}f}" if std is not None else "")
    return f"{text} %" if percent else text
