"""What a sweep ends with: a table of its best trials, importances, trials.csv, and a figure."""

import csv
import itertools
import math
import os
import shlex
import textwrap
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.trial import FrozenTrial, TrialState

from basics.amounts import amount
from basics.files import replacing
from harness.comparing.configurations import counted, is_live
from harness.comparing.scripts import finished
from harness.comparing.tables import align, before_figures, format_mean, terminal_width
from harness.comparing.trials import Sweep
from harness.drawing.figures import COLOURS, new_figure, save_figures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BEST = 10  # trials that are printed
REASON = 160  # characters of the reason of a failure; log.txt has it whole
LEAST = 20  # finished trials that importances need: the best tenth, which are two, are compared with the others
STATES = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
# Marker and colour; the markers alone tell the states apart.
MARKERS = {TrialState.COMPLETE: ("o", COLOURS[0]), TrialState.PRUNED: ("x", COLOURS[1])}


def report(study: optuna.Study, sweep: Sweep) -> None:
    """Prints the best trials, the failed ones and the importances; writes trials.csv and sweep.png."""
    metric, folder = sweep.metric, sweep.folder
    trials = [trial for trial in counted(study.get_trials(deepcopy=False), sweep.space) if trial.state.is_finished()]
    sign = 1 if study.direction == optuna.study.StudyDirection.MINIMIZE else -1
    order = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]
    trials.sort(key=lambda trial: (order.index(trial.state), sign * trial.value if trial.value is not None else 0))
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    write_csv(trials, names, metric, folder / "trials.csv")
    print(f"\n{table_of(trials[:BEST], names, metric)}\n")
    for trial in trials:
        if trial.state == TrialState.FAIL:
            print(f"{_name(trial)} failed: {textwrap.shorten(trial.user_attrs['failure'], REASON, placeholder=' ...')}")
    importances = importances_of(trials, study.direction)
    if importances:
        print("importance  " + "  ".join(f"{name} {share:.0%}" for name, share in importances.items()))
    else:
        count = sum(trial.state == TrialState.COMPLETE for trial in trials)
        print(f"importances: not from {amount(count, 'finished trial')}" + f"; it takes {LEAST}" * (count < LEAST))
    print(folder / "trials.csv")
    drawn = [trial for trial in trials if trial.value is not None]
    if drawn:
        save_figures({"sweep": draw(drawn, names, importances, metric, sign)}, folder)
        print(folder / "sweep.png")


def table_of(trials: list[FrozenTrial], names: list[str], metric: str) -> str:
    """A line for each trial; if that is wider than the terminal, with all flags in one column on several lines."""
    head = ["trial", metric, "state"]
    ends = [[_name(trial), format_mean(metric, trial.value), STATES[trial.state]] for trial in trials]
    flags = [{name: _short(trial.params.get(name, "-")) for name in names} for trial in trials]
    rows = [["trial", metric, *names, "state"]]
    rows += [[*end[:2], *its.values(), end[2]] for end, its in zip(ends, flags, strict=True)]
    text = align(rows, left=1)
    if max(map(len, text.splitlines())) > (width := terminal_width()):
        texts = [" ".join(f"{name}={value}" for name, value in its.items()) for its in flags]
        return align(before_figures(texts, [head, *ends], width), left=1)
    return text


def say_ended(metric: str, study: optuna.Study, trial: FrozenTrial) -> None:
    """Prints a line about a trial that has ended, unless another has taken its place."""
    if is_live(trial):
        values = " ".join(f"{name}={_short(value)}" for name, value in trial.params.items())
        print(f"{_name(trial)}  {format_mean(metric, trial.value)}  {values}  {STATES[trial.state]}", flush=True)


def say_best(study: optuna.Study, sweep: Sweep) -> None:
    """Prints the run directory of the best trial, and the command that repeats it; nothing if none has finished."""
    if study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        best = study.best_trial
        flags = [f"--{name}={value}" for name, value in best.params.items()]
        folder = sweep.folder / _name(best)
        print(f"best: {finished(folder) or folder}")
        print(shlex.join(["python", os.path.relpath(sweep.script), *sweep.arguments, *flags]))


def importances_of(trials: list[FrozenTrial], direction: optuna.study.StudyDirection) -> dict[str, float]:
    """Shares that add up to 1: how much good trials concentrate on some of a flag's values; empty for too few trials.

    Watanabe et al. 2023, "PED-ANOVA: efficiently quantifying hyperparameter importance in arbitrary subspaces".
    """
    finished_ones = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if len(finished_ones) < LEAST:
        return {}
    study = optuna.create_study(direction=direction)  # in memory, without duplicates of an older sweep
    study.add_trials(finished_ones)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a warning that it knows little yet
            return optuna.importance.get_param_importances(study, evaluator=PedAnovaImportanceEvaluator())
    except (ValueError, RuntimeError):  # all results are alike
        return {}


def write_csv(trials: list[FrozenTrial], names: list[str], metric: str, path: Path) -> None:
    """Writes all trials, whole or not at all."""
    with replacing(path) as unfinished, unfinished.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["trial", "state", metric, *names, "epochs", "failure"])
        for trial in trials:
            values = [trial.params.get(name) for name in names]
            failure = trial.user_attrs.get("failure", "")
            writer.writerow([_name(trial), trial.state.name, trial.value, *values, trial.last_step, failure])


def _name(trial: FrozenTrial) -> str:
    return trial.user_attrs.get("folder", f"trial{trial.number:04d}")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def draw(
    trials: list[FrozenTrial], names: list[str], importances: dict[str, float], metric: str, sign: int
) -> "Figure":
    """The results in order, and by each of the flags."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    columns = min(3, len(names) + 1)
    rows = math.ceil((len(names) + 1) / columns)
    figure, axes = new_figure(rows, columns, (3.2 * columns, 2.9 * rows + 0.4), sharey=True, squeeze=False)
    places = list(axes.flat)
    for place in places[len(names) + 1 :]:
        place.axis("off")
    by_number = sorted(trials, key=lambda trial: trial.number)
    _scatter(places[0], by_number, list(range(1, len(trials) + 1)))
    finished = [trial.value if trial.state == TrialState.COMPLETE else None for trial in by_number]
    results = [math.inf if value is None else sign * value for value in finished]
    best = [sign * value if value < math.inf else math.nan for value in itertools.accumulate(results, min)]
    places[0].step(range(1, len(trials) + 1), best, where="post", color="0.5", label="best so far", zorder=1)
    places[0].xaxis.set_major_locator(MaxNLocator(integer=True))
    places[0].set(xlabel="trial, in order", ylabel=metric)
    if metric.endswith("acc"):
        places[0].yaxis.set_major_formatter(PercentFormatter(1))
    for name, place in zip(names, places[1:], strict=False):
        _draw_flag(place, trials, name, importances.get(name))
    figure.legend(*places[0].get_legend_handles_labels(), loc="outside upper right", ncols=3, frameon=False)
    return figure


def _scatter(axes: "Axes", trials: list[FrozenTrial], x: list[Any]) -> None:
    for state, (marker, colour) in MARKERS.items():
        chosen = [(at, trial.value) for at, trial in zip(x, trials, strict=True) if trial.state == state]
        if chosen:
            places, values = zip(*chosen, strict=True)
            axes.scatter(places, values, marker=marker, color=colour, s=26, alpha=0.8, label=STATES[state])
    axes.grid(alpha=0.3)


def _draw_flag(axes: "Axes", trials: list[FrozenTrial], name: str, importance: float | None) -> None:
    trials = [trial for trial in trials if name in trial.params]
    values = [trial.params[name] for trial in trials]
    kind = trials[0].distributions[name]
    if isinstance(kind, optuna.distributions.CategoricalDistribution):
        places = {str(value): at for at, value in enumerate(kind.choices)}
        values = [places[value] for value in values]
        axes.set_xticks(list(places.values()), list(places), rotation=30 if max(map(len, places)) > 5 else 0)
        axes.set_xlim(-0.5, len(places) - 0.5)
    elif isinstance(kind, IntDistribution | FloatDistribution) and kind.log:
        axes.set_xscale("log")
    _scatter(axes, trials, values)
    axes.set(xlabel=name, title=f"importance {importance:.0%}" if importance is not None else "")
