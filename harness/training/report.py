"""What a run leaves behind: the figures of its best epoch, in metrics.json, on the terminal and in TensorBoard."""

import copy
import json
import platform
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor

from basics.amounts import amount
from basics.cores import cores
from basics.digits import rounded
from basics.files import write_json
from basics.lightning_internals import epochs_begun
from basics.terminal import figure_text, short_number
from basics.trainer_parts import callbacks_of
from basics.versions import versions
from callbacks import BestCheckpoint, LastCheckpoint, TestOutputs, Throughput, metrics_of
from datamodules.batch_module import BatchModule
from harness.drawing.pictures import draw_final
from harness.runs.checkpoints import read_checkpoint
from harness.runs.layout import METRICS
from harness.training.preflight import has_stage
from harness.training.run_logger import RunLogger, run_logger_of, worth_comparing, write_flags
from harness.training.run_texts import write_results, write_texts
from harness.training.trackers import trackers_of
from lit_modules.class_stages import ClassStages
from lit_modules.label_stages import LabelStages
from lit_modules.stages import Stages


class Best(NamedTuple):
    """The model's checkpoint: that of the best epoch if a metric has chosen one, else that of the last epoch."""

    path: str | None
    chosen: bool


class Evaluation(NamedTuple):
    """What an evaluation found.

    Attributes:
        metrics: figures for the validation split, if there is one, and for the test set.
        outputs: the model's output for each test sample, (N, ...), on the CPU; None if its steps return nothing, or if
            the outputs are not kept.
        labels: labels of these samples, (N, ...).
    """

    metrics: dict[str, Any]
    outputs: Tensor | None = None
    labels: Tensor | None = None


def finish(
    trainer: Trainer, model: LightningModule, data: LightningDataModule, run: Path | None, kept: Mapping[str, Any]
) -> dict[str, Any]:
    """Evaluates the best epoch on validation and test data, if there are any, reports, draws, and returns the metrics.

    Args:
        run: the directory to write to; None for a dry run.
        kept: the flags of the run, as in config.yaml.
    """
    # The best one, or the last one if no metric chooses.
    checkpoints = [each for each in trainer.checkpoint_callbacks if isinstance(each, BestCheckpoint | LastCheckpoint)]
    saved = [each for each in checkpoints if each.best_model_path]
    best, chosen = (saved[0].best_model_path, saved[0].monitor is not None) if saved else (None, False)
    if run:
        logger = run_logger_of(trainer)
        logger.begun = logger.ended = True  # begun, even if there was nothing left to train
        for tracker in trackers_of(trainer):
            tracker.ended = True
    facts = _facts(trainer, model, kept)  # now: with the best weights, callbacks get their state of that epoch back
    # Not the training's own count: a run that was resumed at its end has not set up validation.
    evaluation = evaluate(trainer, model, data, best, trainer.enable_validation)
    metrics = evaluation.metrics | facts
    if best and chosen:
        metrics["best_epoch"] = read_checkpoint(Path(best)).content["epoch"] + 1
    earlier = _times_tested(run) if run else 0
    metrics["test_evaluations"] = earlier + has_stage("test", model, data)
    if isinstance(model, ClassStages) and model.by_class:
        metrics["by_class"] = model.by_class
    if isinstance(model, LabelStages) and model.by_label:
        metrics["by_label"] = model.by_label
    if trainer.is_global_zero:
        _print_report(metrics, model, chosen, earlier)
        if run:
            print(f"{run}")
            ours = isinstance(data, BatchModule)  # the others' outputs may be of any kind
            outputs = evaluation if ours else evaluation._replace(outputs=None, labels=None)
            _write_report(trainer, model, outputs, Best(best, chosen), kept, metrics)
    return metrics


def throughput_of(trainer: Trainer) -> Throughput:
    return next(callback for callback in callbacks_of(trainer) if isinstance(callback, Throughput))


def _facts(trainer: Trainer, model: LightningModule, kept: Mapping[str, Any]) -> dict[str, Any]:
    """What metrics.json holds besides the figures of the best epoch."""
    throughput = throughput_of(trainer)
    return {
        "epochs": epochs_begun(trainer),  # those begun, since the last one may have been cut short
        "steps": trainer.global_step,
        "seconds": round(throughput.run_seconds, 2),
        "samples_per_second": round(throughput.samples_per_second),
        "parameters": num_parameters(model),
        "seed": kept.get("seed"),
        "net": model.hparams.get("net"),
        **versions(),
        "hardware": hardware(trainer),
    }


def _print_report(metrics: dict[str, Any], model: LightningModule, chosen: bool, earlier: int) -> None:
    title = "best epoch" if chosen else "last epoch"
    figures = {name: value for name, value in metrics.items() if type(value) is float and name != "seconds"}
    if names := metrics_of(model):
        print_table(metrics, names, title)
    elif figures:
        print(f"\n{title}", *(f"{name} {short_number(value)}" for name, value in figures.items()), sep="  ")
    print_classes(metrics, metrics.get("by_class", {}))
    print_labels(metrics.get("by_label", {}))
    samples = f"{amount(metrics['test/samples'], 'test sample')}; " if "test/samples" in metrics else ""
    print(
        f"{samples}{amount(metrics['epochs'], 'epoch')}, {amount(metrics['steps'], 'step')}"
        f" in {metrics['seconds']:,.1f} s, {metrics['samples_per_second']:,} samples/s"
    )
    if earlier:
        print(f"test set: used {earlier + 1} times by this run; its earlier figures may have influenced this one")


def _write_report(
    trainer: Trainer,
    model: LightningModule,
    evaluation: Evaluation,
    best: Best,
    kept: Mapping[str, Any],
    metrics: dict[str, Any],
) -> None:
    """Writes TensorBoard's last entries and metrics.json, and draws pictures if the test's outputs were kept."""
    logger = run_logger_of(trainer)
    run = Path(logger.log_dir)
    assert best.path is not None  # every run that is not dry has one
    for tracker in trackers_of(trainer):
        tracker.report(kept, metrics)
    logger.ended, by_epoch = False, logger.by_epoch
    _log_final(logger, kept, metrics)
    _draw_graph(logger, model, best.path)
    if any(isinstance(callback, TestOutputs) for callback in callbacks_of(trainer)):
        place = _place(best.path, by_epoch) if best.chosen else None
        draw_final(trainer, model, evaluation.outputs, evaluation.labels, place)
    logger.close()
    write_json(run / METRICS, metrics)  # at last, as a run that has it lacks nothing


def _place(best: str | None, by_epoch: bool) -> int | None:
    """The position on the curves' x-axis at which the best epoch ended."""
    saved = read_checkpoint(Path(best)).content if best else {}
    return saved["epoch"] + 1 if saved and by_epoch else saved.get("global_step")


def evaluate(
    trainer: Trainer, model: LightningModule, data: LightningDataModule, checkpoint: str | None, validates: bool
) -> Evaluation:
    """Evaluates a model, with the checkpoint's weights if given.

    Args:
        validates: whether there is a validation split.
    """
    metrics: dict[str, Any] = {}
    if validates:
        for validated in trainer.validate(model, data, ckpt_path=checkpoint, weights_only=True, verbose=False):
            metrics |= validated  # from the only loader; nothing if it is empty
        checkpoint = None  # its weights are loaded by now
    if has_stage("test", model, data):
        for tested in trainer.test(model, data, ckpt_path=checkpoint, weights_only=True, verbose=False):
            metrics |= tested
    metrics = {name: rounded(value) for name, value in metrics.items()}
    if "test/samples" in metrics or not getattr(data, "has_tests", True):
        metrics["test/samples"] = int(metrics.get("test/samples", 0))
    kept = [callback for callback in callbacks_of(trainer) if isinstance(callback, TestOutputs)]
    return Evaluation(metrics, kept[0].outputs, kept[0].labels) if kept else Evaluation(metrics)


def put_by_metrics(run: Path) -> None:
    """Renames the metrics of a finished run that trains further, and so is unfinished again, to metrics-1.json etc."""
    if (path := run / METRICS).exists():
        number = max(1, _times_tested(run))
        while (kept := run / f"metrics-{number}.json").exists():  # of trainings without a test set
            number += 1
        path.replace(kept)


def _times_tested(run: Path) -> int:
    """How often the test set was used before, according to the run's metrics."""
    found = [json.loads(path.read_text()) for path in run.glob("metrics*.json")]
    return max((metrics.get("test_evaluations", 1) for metrics in found), default=0)


def _log_final(logger: RunLogger, kept: Mapping[str, Any], metrics: dict[str, Any]) -> None:
    """The HPARAMS tab, with the test figures that validation has too, and all of them as a text."""
    figures = {name: value for name, value in metrics.items() if name.startswith(("val/", "test/"))}
    step = metrics["epochs" if logger.by_epoch else "steps"]
    logger.by_epoch = False  # these keep their own x-axis
    logger.log_metrics(_comparable(figures), step=step)
    write_results(logger, "best_epoch" if "best_epoch" in metrics else "last_epoch", figures, step)
    write_flags(Path(logger.log_dir), worth_comparing(kept))


def _comparable(figures: Mapping[str, float]) -> dict[str, float]:
    """The test figures of which validation has one as well, or all of them, if there is no validation.

    The others, such as one for each class, would be charts of one dot each.
    """
    validated = {name.removeprefix("val/") for name in figures if name.startswith("val/")}
    tested = {name.removeprefix("test/"): value for name, value in figures.items() if name.startswith("test/")}
    return {f"test/{name}": tested[name] for name in tested if name in (validated or tested) and name != "samples"}


def _draw_graph(logger: RunLogger, model: LightningModule, best: str) -> None:
    """The network's graph, for modules of ours and others that have an example of their input."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the graph tab needs torch.jit, which newer releases deprecate
        if isinstance(model, Stages):
            fresh = type(model).load_from_checkpoint(best, map_location="cpu", weights_only=True).eval()
            logger.experiment.add_graph(fresh.net, fresh.example_input_array)
        elif isinstance(example := model.example_input_array, torch.Tensor) and is_overridden("forward", model):
            try:
                apart = copy.deepcopy(model).cpu().eval()
                apart.trainer = model.trainer  # a copy has none, and tracing looks at each attribute
                logger.experiment.add_graph(apart, example.cpu())
            except Exception as error:  # not every module can be traced
                print(f"TensorBoard shows no graph of {type(model).__name__}: {error}".splitlines()[0])


@contextmanager
def logged_run(run: Path, flags: Mapping[str, Any], command: Sequence[str]) -> Iterator[RunLogger]:
    """The logger of a run without a training loop of its own, with the texts on how it was started."""
    logger = RunLogger(run, name="", version="", default_hp_metric=False)
    write_texts(logger, cpu(), flags, command)
    yield logger
    logger.close()


def print_table(metrics: dict[str, Any], names: Sequence[str], title: str = "best epoch") -> None:
    """Prints a line of metrics for the validation split, if there is one, and for the test set."""
    widths = {name: max(10, len(name) + 2) for name in names}
    print(f"\n{title:<10}" + "".join(f"{name:>{width}}" for name, width in widths.items()))
    for stage in ("val", "test"):
        cells = {name: figure_text(name, metrics[f"{stage}/{name}"]) for name in names if f"{stage}/{name}" in metrics}
        if cells:
            print(f"{stage:<10}" + "".join(f"{cells.get(name, ''):>{width}}" for name, width in widths.items()))


def print_classes(metrics: Mapping[str, Any], by_class: Mapping[str, Mapping[str, float]]) -> None:
    """Prints what a test has found of the classes, in a line, and in another one what the threshold does for two."""
    recalls = {name: its["recall"] for name, its in by_class.items() if its["count"]}
    if not recalls:
        return
    balanced, f1, auc, ap = (metrics[f"test/{name}"] for name in ("balanced_acc", "macro_f1", "roc_auc", "ap"))
    ends = min(recalls, key=recalls.__getitem__), max(recalls, key=recalls.__getitem__)
    low, high = (f"{recalls[name]:.1%} ({name})" for name in ends)
    print(f"balanced accuracy {balanced:.2%}, macro F1 {f1:.4f}; recall from {low} to {high}")
    print(f"ROC-AUC {auc:.4f}, average precision {ap:.4f}")
    if "test/balanced_acc_at_threshold" in metrics:
        start = f"{list(by_class)[1]} from a probability of {metrics['val/threshold']:.3f} on, as validation chose"
        print(f"{start}: balanced accuracy {metrics['test/balanced_acc_at_threshold']:.2%}")


def print_labels(by_label: Mapping[str, Mapping[str, float]]) -> None:
    """Prints in a line which of several labels a test has found worst and best."""
    found = {name: its["ap"] for name, its in by_label.items() if its["count"]}
    if found:
        ends = min(found, key=found.__getitem__), max(found, key=found.__getitem__)
        low, high = (f"{found[name]:.4f} ({name})" for name in ends)
        print(f"average precision of {amount(len(found), 'label')} from {low} to {high}")


def num_parameters(model: LightningModule) -> int:
    """The number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def hardware(trainer: Trainer) -> str:
    """A description such as "2 x NVIDIA H200, bf16-mixed"; of a CPU it begins with that of `cpu`."""
    device, narrow = trainer.strategy.root_device, f", {trainer.precision}" * (trainer.precision != "32-true")
    if device.type == "cuda":
        return f"{trainer.world_size} x {torch.cuda.get_device_name(device)}{narrow}"
    return cpu(trainer.world_size) + narrow


def cpu(processes: int = 1) -> str:
    """A description such as "1 process on 2 cores, AMD EPYC", of the cores that this process may use."""
    return f"{amount(processes, 'process', 'processes')} on {amount(cores(), 'core')}, {_cpu_name()}"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):  # not Linux, or a processor without a name
        return platform.processor() or platform.machine()
