"""Runs in tables, grouped by configuration, with means and standard deviations over seeds.

A table has the runs of one script on the same data. It is ordered by the validation figure that chose their epochs;
test figures are shown, but order nothing.
"""

import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from harness.comparing.run_files import Run, begun, mode_of, number
from harness.runs.flag_kinds import ASIDE

UNITS = ("loss", "delta", "log_target")  # flags that say what a regression's loss is
IN_PLACE_OF_LOSS = ("val/rmse", "val/map", "val/acc")  # where losses are of different kinds
CLEARER = ("test/acc", "test/rmse")  # than a test loss, also where the loss chose the epochs
USUAL_TASKS = {"own_images": "classification", "table": "regression"}  # which need not be said
NOTHING = "''"  # an empty text, which is a flag's way to say that there is none
DIGITS = 4  # of a number in a table or a label
MOST_METRICS = 3  # columns of a table that has no validation figure


class Group(NamedTuple):
    """The finished runs of one configuration."""

    flags: dict[str, str]  # those in which the groups of a table differ, as text, as far as this one has them
    runs: list[Run]

    @property
    def names(self) -> list[str]:
        """What `--name` called its runs, each once."""
        return [*dict.fromkeys(str(run.flags["name"]) for run in self.runs if run.flags.get("name"))]

    def values(self, metric: str) -> list[float]:
        """The values of all runs; empty if one of them has none, since a mean of the others would flatter."""
        values = [value for run in self.runs if (value := number(run.metrics.get(metric))) is not None]
        return values if len(values) == len(self.runs) else []

    def mean(self, metric: str) -> float | None:
        values = self.values(metric)
        return statistics.fmean(values) if values else None

    def std(self, metric: str) -> float | None:
        """The standard deviation of the sample, with n - 1; None for a single run."""
        values = self.values(metric)
        return statistics.stdev(values) if len(values) > 1 else None


class Kind(NamedTuple):
    """What runs must have in common to be compared."""

    script: str
    data: str  # such as "embedded sample"; empty if the script's name says it
    known: bool  # whether its flags are known; a run started from Python may have kept none

    @property
    def title(self) -> str:
        return ", ".join(part for part in (self.script, self.data, "" if self.known else "flags unknown") if part)


class Table(NamedTuple):
    """Groups that can be compared, in the order of `by`, the best first."""

    kind: Kind
    by: str | None  # None: there is nothing to order by
    mode: str | None  # max or min
    metrics: list[str]  # the columns
    groups: list[Group]

    @property
    def columns(self) -> list[str]:
        """The flags in which the groups differ."""
        names = dict.fromkeys(name for group in self.groups for name in group.flags)
        return sorted(names, key=lambda name: name != "net")  # the net first

    @property
    def of_net(self) -> list[str]:
        """The columns that follow from the net, as those of its recipe that no run has changed."""
        by_net: defaultdict[str | None, list[Group]] = defaultdict(list)
        for group in self.groups:
            by_net[group.flags.get("net")].append(group)
        columns = [name for name in self.columns if name != "net"] if "net" in self.columns else []
        values = {name: [{its.flags.get(name) for its in of} for of in by_net.values()] for name in columns}
        return [name for name in columns if all(len(of_one_net) == 1 for of_one_net in values[name])]


def kind_of(run: Run) -> Kind:
    flags = run.flags
    script = "finetune" if {"checkpoint", "data"} <= flags.keys() else run.script
    parts = [str(flags["data"])] if flags.get("data") not in (None, script) else []
    if flags.get("task") not in (None, USUAL_TASKS.get(script)):
        parts.append(f"task {flags['task']}")
    if flags.get("sample"):
        parts.append("embedded sample")
    else:
        names = ("csv", "labels", "target", "data_dir" if in_own_folder(run) else "")
        parts += [f"{name} {flags[name]}" for name in names if flags.get(name)]
    parts += ["cross-validated"] * bool(flags.get("folds"))
    return Kind(script, ", ".join(parts), bool(flags))


def in_own_folder(run: Run) -> bool:
    """Whether the folder of the data decides which data they are; else it is where a well-known data set is kept."""
    return bool({"own_images", "segmentation"} & {run.script, str(run.flags.get("data"))})


def make_tables(runs: Sequence[Run], by: str | None) -> tuple[list[Table], list[tuple[Run, str]]]:
    """Tables of the runs that have figures, and the other runs with what is wrong with them.

    Args:
        by: the metric to order by; None: the one that chose the epochs of most of a table's runs.
    """
    kinds: defaultdict[Kind, list[Run]] = defaultdict(list)
    left_out = [(run, run.problem) for run in runs if run.problem]
    for run in runs:
        if not run.problem:
            kinds[kind_of(run)].append(run)
    tables = []
    for kind, its in sorted(kinds.items()):
        metric = by or choose_metric(its)
        compared = [run for run in its if not metric or number(run.metrics.get(metric)) is not None]
        left_out += [(run, f"no {metric}") for run in its if run not in compared]
        compared, again = once_each(compared)
        left_out += again
        if compared:
            tables.append(_table(kind, compared, metric))
    return tables, left_out


def once_each(runs: Sequence[Run]) -> tuple[list[Run], list[tuple[Run, str]]]:
    """The runs, of those with the same configuration and seed only the newest; and the others, with what that one is.

    A seed that is run twice gives the same figures, and no second sample.
    """
    newest = {_same(run): run for run in sorted(runs, key=lambda run: begun(run.path))}
    pairs = [(run, newest[_same(run)] if run.seed is not None else run) for run in runs]
    again = [(run, f"seed {run.seed} again: {newer.path} counts") for run, newer in pairs if newer is not run]
    return [run for run, newer in pairs if newer is run], again


def _same(run: Run) -> tuple[Kind, str, Any]:
    """What two runs have in common that give the same figures."""
    return kind_of(run), _key(run), run.seed


def _key(run: Run) -> str:
    """The configuration as a text."""
    flags = {name: value for name, value in configuration(run).items() if value != ""}
    return json.dumps(flags, sort_keys=True) if run.flags else str(run.path)


def _table(kind: Kind, runs: Sequence[Run], by: str | None) -> Table:
    modes = {mode for run in runs if (mode := mode_of(by or "", run.flags))}
    mode = modes.pop() if len(modes) == 1 and kind.known else None  # the data of unknown runs are unknown too
    groups = group_runs(runs, by if mode else None, mode)
    clearer = CLEARER if by and by.endswith("loss") else ()
    columns = [by, by.replace("val/", "test/", 1), *clearer, "seconds"] if by else [*_other_metrics(runs), "seconds"]
    shown = [name for name in dict.fromkeys(columns) if any(group.values(name) for group in groups)]
    return Table(kind, by if mode else None, mode, shown, groups)


def choose_metric(runs: Sequence[Run]) -> str | None:
    """The validation figure that chose most runs' epochs, or one that all have, or that over folds, or None."""
    names = [[name for name in run.metrics if number(run.metrics[name]) is not None] for run in runs]
    votes = Counter(run.flags.get("monitor") for run, its in zip(runs, names, strict=True))
    votes = Counter({name: votes[name] for name in votes if any(name in its for its in names)})
    units = {tuple(run.flags.get(name) for name in UNITS) for run in runs}
    chosen = votes.most_common(1)[0][0] if votes else None
    if len(units) > 1 and (chosen or "loss").endswith("loss"):  # losses of different kinds cannot be compared
        comparable = [name for name in IN_PLACE_OF_LOSS if all(name in its for its in names)]
        if comparable or chosen:
            return comparable[0] if comparable else None
    if chosen:
        return chosen
    found = Counter(name for its in names for name in its if name.startswith(("cv/", "val/")) and name != "cv/samples")
    most = max(found.values(), default=0)
    ordered = sorted((name for name in found if found[name] == most), key=lambda name: name.endswith("loss"))
    return ordered[0] if ordered else None


def _other_metrics(runs: Sequence[Run]) -> list[str]:
    """Test figures, or the first figures of a study if there are none."""
    names = dict.fromkeys(name for run in runs for name in run.metrics if number(run.metrics[name]) is not None)
    tests = [name for name in names if name.startswith("test/") and name != "test/samples"]
    return (tests or [name for name in names if name not in ("seed", "seconds")])[:MOST_METRICS]


def group_runs(runs: Sequence[Run], metric: str | None, mode: str | None = "max") -> list[Group]:
    """The groups of runs that differ only in the seed, the best mean of `metric` first.

    A run whose flags are not known is a group of its own.
    """
    members: defaultdict[str, list[Run]] = defaultdict(list)
    for run in runs:
        members[_key(run)].append(run)
    texts = [{name: as_text(value) for name, value in configuration(its[0]).items()} for its in members.values()]
    shown = _differing(texts)
    groups = []
    for its, text in zip(members.values(), texts, strict=True):
        flags = {name: text[name] for name in shown if text.get(name, NOTHING) != NOTHING}
        groups.append(Group(flags if its[0].flags else {"run": its[0].path.name}, its))
    if metric:
        # All groups have the metric that a table is ordered by.
        groups.sort(key=lambda group: cast(float, group.mean(metric)), reverse=mode == "max")
    return groups


def _differing(texts: Sequence[dict[str, str]]) -> list[str]:
    """Names whose values differ, the net first; names that some lack only if nothing else tells two apart."""
    names = sorted(dict.fromkeys(name for its in texts for name in its), key=lambda name: name != "net")
    values = {name: {its[name] for its in texts if name in its} for name in names}
    shown = [name for name in names if len(values[name]) > 1]
    seen = {tuple(its.get(name) for name in shown) for its in texts}
    if len(seen) < len(texts):
        lacked = [name for name in names if name not in shown and any(name not in its for its in texts)]
        lacked = [name for name in lacked if values[name] != {NOTHING}]  # older runs have no such flag
        return [name for name in names if name in shown or name in lacked]
    return shown


def configuration(run: Run) -> dict[str, Any]:
    """The flags that may change the result of a run; null counts as absent, and the data is that of its table.

    The folder of the data set counts only if it decides which data set it is.
    """
    aside = ASIDE | {"seed", "name"} | (set() if in_own_folder(run) else {"data_dir"})
    return {name: value for name, value in run.flags.items() if name not in aside and value not in (None, {}, [])}


def as_text(value: Any) -> str:
    """A flag's value as one would type it."""
    return (value or NOTHING) if isinstance(value, str) else json.dumps(value)


def rounded(text: str) -> str:
    """A flag's value as text, with few digits if it is a long number."""
    try:
        return f"{float(text):.{DIGITS}g}" if len(text) > DIGITS + 2 else text
    except ValueError:
        return text


def short_labels(groups: Sequence[Group]) -> list[str]:
    """Such as "lr=0.1 batch_size=64", with only as many flags as tell the groups apart, since a recipe sets many.

    Runs of one name have it before their flags.
    The net is always among them, since the other flags of the recipe follow from it.
    """
    names = list(dict.fromkeys(name for group in groups for name in group.flags))
    for name in [name for name in reversed(names) if name != "net"]:
        fewer = [other for other in names if other != name]
        if len({tuple(group.flags.get(other) for other in fewer) for group in groups}) == len(groups):
            names = fewer
    shown = [[f"{name}={rounded(group.flags[name])}" for name in names if name in group.flags] for group in groups]
    named = [group.names if len(group.names) == 1 else [] for group in groups]
    labels = [" ".join([*its, *flags]) for its, flags in zip(named, shown, strict=True)]
    return [label or group.runs[0].script for label, group in zip(labels, groups, strict=True)]
