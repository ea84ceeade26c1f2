"""What a cross-validation leaves: figures over all rows, predictions as CSV files, pictures, and lines to read."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from basics.amounts import amount
from basics.terminal import figure_text
from basics.versions import versions
from datamodules.other_rows import OtherRows
from harness.drawing.class_figures import draw_by_class, draw_by_label
from harness.drawing.classification_figures import draw_calibration, draw_confusion, draw_pr
from harness.drawing.figures import draw_regression, publish
from harness.drawing.short_names import shortened
from harness.runs.resume import Opened
from harness.runs.states import read_metrics
from harness.tasks.fold_flags import FoldFlags
from harness.tasks.folds import FoldData, FoldResult, Task
from harness.tasks.prediction_files import distinct, predicted_columns, write_predictions
from harness.tasks.table_scores import as_text, score
from harness.training.report import logged_run
from harness.training.run_logger import worth_comparing, write_flags
from harness.training.run_texts import write_results
from harness.training.trackers import Logged, trackers_for

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def pooled(count: int, results: Sequence[FoldResult]) -> np.ndarray:
    """For each row, the mean over seeds of the predictions by models that had not seen it, (N,) or (N, C)."""
    total, times = np.zeros((count, *results[0].held_out.shape[1:])), np.zeros(count)
    for result in results:
        total[result.rows] += result.held_out
        times[result.rows] += 1
    return total / times.reshape(-1, *[1] * (total.ndim - 1))


def figures_of_all(data: FoldData, tasks: Sequence[Task], results: Sequence[FoldResult]) -> dict[str, Any]:
    """Figures over all rows, each predicted by models that had not seen it; in regressions `cv/fold_...` is the first's
    only.
    """
    true, fitted = data.targets, data.preprocessing
    values = pooled(len(true), results)
    figures = score(true, values, fitted)
    rows = {task.fold.number: result.rows for task, result in zip(tasks, results, strict=True)}
    by_fold = [score(true[held_out], values[held_out], fitted) for held_out in rows.values()]
    by_seed = [
        score(
            true,
            pooled(len(true), [its for task, its in zip(tasks, results, strict=True) if task.seed == seed]),
            fitted,
        )
        for seed in dict.fromkeys(task.seed for task in tasks)
    ]
    listed = list(figures) if fitted["classes"] else list(figures)[:1]
    metrics: dict[str, Any] = {}
    for name, figure in figures.items():
        metrics[f"cv/{name}"] = figure
        if name in listed:
            metrics[f"cv/fold_{name}"] = [each[name] for each in by_fold]
            metrics[f"cv/seed_{name}"] = [each[name] for each in by_seed]
    return {**metrics, "cv/samples": len(true)}


def figures_of_others(data: FoldData, others: OtherRows | None, results: Sequence[FoldResult]) -> dict[str, Any]:
    """Test figures of the mean of all models, or if those rows have no targets, the range of its predictions."""
    if others is None:
        return {}
    mean = np.mean([result.submission for result in results], axis=0)
    if others.targets is not None:
        figures = score(others.targets, mean, data.preprocessing)
        return {**{f"test/{name}": figure for name, figure in figures.items()}, "test/samples": len(mean)}
    predicted = np.exp(mean) if data.log_target else mean
    return {
        "submission/lowest": round(float(predicted.min()), 2),
        "submission/highest": round(float(predicted.max()), 2),
    }


def facts_of(tasks: Sequence[Task], results: Sequence[FoldResult]) -> dict[str, Any]:
    """What metrics.json holds besides."""
    best = [read_metrics(task.run).get("best_epoch") for task in tasks]
    return {
        "epochs": int(results[0].epochs),
        **({"best_epochs": best} if any(best) else {}),
        "parameters": int(results[0].parameters),
        **versions(),
        "hardware": read_metrics(tasks[0].run)["hardware"],
    }


def finish(
    opened: Opened,
    data: FoldData,
    results: Sequence[FoldResult],
    metrics: dict[str, Any],
    flags: FoldFlags,
) -> None:
    """Writes predictions and figures to the run's directory, and to its TensorBoard and trackers the metrics too."""
    run, kept = opened.folder, opened.flags
    assert run is not None and kept is not None  # it is not a dry run
    values = pooled(len(data.targets), results)
    columns = [*_true_columns(data), *predicted_columns("predicted", values, data.preprocessing)]
    named = distinct([(id_column := data.id_column or "line", data.ids), *columns])
    write_predictions(run / "out_of_fold.csv", id_column, named.pop(id_column), named)
    with logged_run(run, kept, flags.invocation.command) as logger:
        chief = next(iter(metrics))
        for folds, figure in enumerate(_so_far(data, values, results[: flags.folds], chief.removeprefix("cv/")), 1):
            logger.log_metrics({chief: figure}, step=folds)
        write_results(logger, data.name, {name: its for name, its in metrics.items() if name.startswith("cv/")})
        publish(_draw(data, values) if flags.pictures else {}, run / "figures", logger.experiment)
    for tracker in trackers_for(flags.log_to, Logged(run, data.name)):
        tracker.report(kept, metrics)
    write_flags(run, worth_comparing(kept))


def _true_columns(data: FoldData) -> list[tuple[str, np.ndarray]]:
    if labels := data.preprocessing.get("labels"):
        return [(label, has.astype(int)) for label, has in zip(labels, data.targets.T, strict=True)]
    return [(data.target, np.array(data.classes)[data.targets] if data.classification else data.targets)]


def _so_far(data: FoldData, values: np.ndarray, folds: Sequence[FoldResult], name: str) -> list[float]:
    """A figure over the held-out rows of the first fold, of the first two, and so on to all rows."""
    rows = [np.concatenate([fold.rows for fold in folds[:count]]) for count in range(1, len(folds) + 1)]
    return [score(data.targets[seen], values[seen], data.preprocessing)[name] for seen in rows]


def write_submission(path: Path, data: FoldData, others: OtherRows, results: Sequence[FoldResult]) -> None:
    """Writes the mean of all models' predictions for the rows of another file."""
    mean = np.mean([result.submission for result in results], axis=0)
    columns = distinct(predicted_columns(data.target, mean, data.preprocessing))
    write_predictions(path, data.id_column, others.ids, columns)


def _draw(data: FoldData, values: np.ndarray) -> dict[str, "Figure"]:
    if labels := data.preprocessing.get("labels"):
        return {"by_label": draw_by_label(torch.from_numpy(values), torch.from_numpy(data.targets), labels)}
    if not data.classification:
        predicted = np.exp(values) if data.log_target else values
        return draw_regression(data.targets, predicted, shortened(data.target), data.log_target, data.samples)
    probabilities, labels = torch.from_numpy(values), torch.from_numpy(data.targets)
    return {
        "by_class": draw_by_class(probabilities, labels, data.classes),
        "confusion": draw_confusion(probabilities, labels, data.classes),
        "precision_recall": draw_pr(probabilities, labels, data.classes),
        "calibration": draw_calibration(probabilities, labels),
    }


def print_scores(metrics: dict[str, Any], data: FoldData, run: Path) -> None:
    """Prints the figures over all samples, by fold and by seed, and those of the rows of another file."""
    figures = {name.removeprefix("cv/"): value for name, value in metrics.items() if name.startswith("cv/")}
    del figures["samples"]
    chief, *others = [name for name, value in figures.items() if not isinstance(value, list)]
    print(f"\n{as_text(figures, [chief])} over {metrics['cv/samples']:,} {data.samples}, none seen by its model")
    for by in ("fold", "seed")[: 1 + (metrics["seeds"] > 1)]:
        print(f"by {by}  " + "  ".join(figure_text(chief, value) for value in figures[f"{by}_{chief}"]))
    print(as_text(figures, others))
    if "test/samples" in metrics:
        tested = {name: metrics[f"test/{name}"] for name in (chief, *others)}
        samples = amount(metrics["test/samples"], data.samples.removesuffix("s"))
        print(f"\ntest: {as_text(tested, [chief])} on {samples}, by the mean of all models\n{as_text(tested, others)}")
    seconds = f"{metrics['seconds']:,.1f} s\n{run}"
    if "submission/lowest" in metrics:
        low, high, true = metrics["submission/lowest"], metrics["submission/highest"], data.targets
        print(
            f"submission from {low:,.0f} to {high:,.0f}; true prices from {true.min():,.0f} to {true.max():,.0f};",
            seconds,
        )
    else:
        print(seconds)
