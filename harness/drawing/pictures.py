"""The pictures of a run, in figures/*.png and TensorBoard: what it learnt, and where it is wrong.

The final ones are drawn from the outputs of the test, and need no second pass over the test set; those during training
(`--pictures_every`) from the outputs of validation. They do not affect the random numbers that training draws.
"""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from basics.trainer_parts import callbacks_of, datamodule_of
from callbacks import Histograms
from callbacks.boundaries import place_of_curves
from datamodules import ImageData
from datamodules.batch_module import BatchModule
from datamodules.batches import EvalBatches
from datamodules.image_targets import ImageNumbers
from datamodules.table_data import TableData
from harness.drawing.class_figures import draw_by_class, draw_by_label
from harness.drawing.classification_figures import draw_calibration, draw_confusion, draw_counts, draw_pr
from harness.drawing.column_figures import draw_columns
from harness.drawing.evidence_figures import draw_why, some_of_both
from harness.drawing.figures import draw_predicted, publish
from harness.drawing.image_figures import draw_augmented, draw_feature_maps, draw_kernels, draw_wrong, most_wrong
from harness.drawing.inspection import features_of, first_kernels, maps_of
from harness.drawing.layer_names import layer_names
from harness.drawing.learning_curves import Trained, draw_learning_curves
from harness.drawing.projector import add_to_projector
from harness.drawing.segmentation_figures import (
    SHOWN,
    Segmented,
    draw_augmented_masks,
    draw_segmented,
    iou_of_images,
)
from harness.drawing.short_names import shortened
from harness.drawing.weight_figures import draw_histograms
from lit_modules import Classifier
from lit_modules.evidence import Evidence, evidence
from lit_modules.label_stages import LabelStages
from lit_modules.number_stages import NumberStages
from lit_modules.segmenter import Segmenter
from lit_modules.stages import Batch, Stages

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch.utils.tensorboard import SummaryWriter

EMBEDDED = 1000  # test images in the projector, whose features are computed just for it, and written as text
IN_PR_TAB = 100  # classes; each costs a millisecond, and a line on one page of TensorBoard
LAYERS = 7  # whose feature maps are drawn


def draw_round(trainer: Trainer, model: LightningModule, logits: Tensor, labels: Tensor) -> None:
    """Draws the validation split during training: in figures/epoch_N/, and in TensorBoard beside the curves."""
    epoch, loader, logger = trainer.current_epoch + 1, trainer.val_dataloaders, trainer.logger
    assert isinstance(logger, TensorBoardLogger)  # as of each run
    if not isinstance(loader, EvalBatches):
        return  # data of another kind, whose pictures nobody has described
    with reported():
        figures, place = _draw(trainer, model, loader, logits, labels), place_of_curves(trainer, logger)
        publish(figures, Path(logger.log_dir) / "figures" / f"epoch_{epoch}", logger.experiment, place)


def draw_final(
    trainer: Trainer, model: LightningModule, logits: Tensor | None, labels: Tensor | None, best: int | None
) -> None:
    """Pictures of the whole run and of its best epoch, in the directory and the TensorBoard of the trainer's logger.

    Args:
        logits: of the test set, (N, C), and labels: (N,); in a regression, predicted and true numbers, (N,) each; None
            where the task has neither.
        best: where on the x-axis of the curves the best epoch ended; None where none was chosen.
    """
    logger, step = trainer.logger, trainer.global_step
    assert isinstance(logger, TensorBoardLogger)  # as of each run
    run, writer = Path(logger.log_dir), logger.experiment
    folder, loader = run / "figures", trainer.test_dataloaders
    with reported():
        publish(draw_learning_curves(run, best, _how(trainer, model)), folder, writer, step)
    for kept in [callback.gradients for callback in callbacks_of(trainer) if isinstance(callback, Histograms)]:
        with reported():
            publish({"histograms": draw_histograms(model, kept)}, folder, writer, step)
    if isinstance(data := datamodule_of(trainer), TableData):
        with reported():
            publish({"columns": draw_columns(data.columns)}, folder, writer, step)
    if logits is None or labels is None:
        return
    assert isinstance(loader, EvalBatches)  # the one that was tested
    model.to(trainer.strategy.root_device).eval()  # the Trainer moved it off the device after the test
    with reported():
        publish(_draw(trainer, model, loader, logits, labels), folder, writer, step)
    with reported():
        publish(_draw_why(trainer, model, loader, logits, labels), folder, writer, step)
    with reported():
        _add_curves_and_points(trainer, model, loader, logits, labels, writer, step)
    model.cpu()


def _how(trainer: Trainer, model: LightningModule) -> Trained:
    data = datamodule_of(trainer)
    drops = any("Dropout" in type(part).__name__ and getattr(part, "p", 0) > 0 for part in model.modules())
    at_work = {
        "augmentation": bool(getattr(data, "augmentations", ())),
        "mixed images": bool(model.hparams.get("mixup") or model.hparams.get("cutmix")),
        "dropout": drops,
    }
    return Trained([name for name, on in at_work.items() if on], len(getattr(data, "val_indices", ())))


@contextmanager
def reported() -> Iterator[None]:
    """Reports a picture that fails, which must cost a run neither its training nor its metrics."""
    try:
        yield
    except Exception:
        print("a picture could not be drawn:", file=sys.stderr)
        traceback.print_exc()


def _draw(
    trainer: Trainer, model: LightningModule, loader: EvalBatches, logits: Tensor, labels: Tensor
) -> dict[str, "Figure"]:
    """The figures, by name, of the model's outputs for the loader's first samples."""
    if isinstance(model, NumberStages):
        return {"predicted": _draw_numbers(trainer, logits, labels)}
    if isinstance(model, LabelStages):
        return {"by_label": draw_by_label(model.predicted(logits), labels, model.names)}
    if isinstance(model, Segmenter):
        return _draw_segmentation(trainer, model, loader, logits)
    probabilities, classes = _probabilities(model, logits), _data_of(trainer).classes
    figures = {
        "by_class": draw_by_class(probabilities, labels, classes),
        "confusion": draw_confusion(probabilities, labels, classes),
        "precision_recall": draw_pr(probabilities, labels, classes),
        "calibration": draw_calibration(probabilities, labels),
    }
    if not _shows_images(model, trainer):
        return figures
    wrong = most_wrong(probabilities, labels)
    if len(wrong):
        images, _ = loader.take(wrong)
        figures["wrong"] = draw_wrong(images.cpu(), probabilities[wrong], labels[wrong], classes)
    figures["augmented"] = draw_augmented(*_training_batch(trainer, model), classes)
    names = layer_names(model.net)
    if kernels := first_kernels(model.net, _data_of(trainer).input_shape):
        layer, weight = kernels
        figures["kernels"] = draw_kernels(names[layer], weight)
    images, _ = loader.take(torch.tensor([0]))
    if maps := maps_of(model.net, lambda: _forward(trainer, model, images), at_most=LAYERS):
        named = [(names[layer], channels) for layer, channels in maps]
        figures["feature_maps"] = draw_feature_maps(images[0].cpu(), named, classes[int(labels[0])])
    return figures


def _draw_why(
    trainer: Trainer, model: LightningModule, loader: EvalBatches, logits: Tensor, labels: Tensor
) -> dict[str, "Figure"]:
    """What in some right and some wrong images speaks for their predicted classes."""
    if not _shows_images(model, trainer):
        return {}
    probabilities, classes = _probabilities(model, logits), _data_of(trainer).classes
    places = some_of_both(probabilities, labels)
    images, _ = loader.take(places)
    found = evidence(model, images, probabilities[places].argmax(1))
    if found is None:
        print(f"no figures/why.png: {model.hparams['net']} makes no feature maps by convolutions")
        return {}
    found = Evidence(*(maps.cpu() for maps in found))
    return {"why": draw_why(images.cpu(), found, probabilities[places], labels[places], classes)}


def _draw_numbers(trainer: Trainer, predicted: Tensor, true: Tensor) -> "Figure":
    data, split = _data_of(trainer), "test" if trainer.state.fn == TrainerFn.TESTING else "validation"
    assert isinstance(data, TableData | ImageNumbers)  # of rows or images with a number as target
    samples, log = f"{len(true):,} {split} {data.samples}", isinstance(data, TableData) and data.log_target
    return draw_predicted(true.double().numpy(), predicted.double().numpy(), shortened(data.target), log, samples)


def _draw_segmentation(
    trainer: Trainer, model: Segmenter, loader: EvalBatches, confusion: Tensor
) -> dict[str, "Figure"]:
    """The figures of the images with these confusion matrices, (N, C, C)."""
    classes, scores = _data_of(trainer).classes, iou_of_images(confusion, model.binary)
    figures = {"confusion": draw_counts(confusion.sum(0).long().numpy(), classes)}
    if not _is_whole(trainer):
        return figures
    worst = scores.argsort(stable=True)[:SHOWN]
    rows = {"segmented": torch.arange(min(SHOWN, len(scores))), "worst": worst}
    titles = {"segmented": f"The first {len(worst)} images", "worst": f"The {len(worst)} images with the lowest IoU"}
    for name, places in rows.items():
        images, masks = loader.take(places)
        predicted = model.classify(_forward(trainer, model, images)).cpu()
        examples = Segmented(images.cpu(), masks.cpu(), predicted, scores[places])
        figures[name] = draw_segmented(examples, classes, f"{titles[name]} of {len(scores):,}")
    figures["augmented"] = draw_augmented_masks(*_training_batch(trainer, model), classes)
    return figures


def _probabilities(model: LightningModule, logits: Tensor) -> Tensor:
    return model.predicted(logits) if isinstance(model, Stages) else logits.softmax(1)


def _data_of(trainer: Trainer) -> BatchModule:
    data = datamodule_of(trainer)
    assert isinstance(data, BatchModule)  # as of each run
    return data


def _shows_images(model: LightningModule, trainer: Trainer) -> TypeGuard[Classifier]:
    """Whether images are classified by a network that is whole on each device, so that one rank can run it alone."""
    return _is_whole(trainer) and isinstance(model, Classifier) and isinstance(_data_of(trainer), ImageData)


def _is_whole(trainer: Trainer) -> bool:
    return isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy)


@torch.no_grad()
def _forward(trainer: Trainer, model: LightningModule, images: Tensor) -> Tensor:
    # Compiled code would not call the hooks that look inside.
    with torch.compiler.set_stance("force_eager"), trainer.precision_plugin.forward_context():
        return model(trainer.precision_plugin.convert_input(images))


def _training_batch(trainer: Trainer, model: Stages) -> Batch:
    """A batch as training would make it next; random numbers continue as if it had not been made."""
    data, device = _data_of(trainer), trainer.strategy.root_device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        images, labels, *_ = model.draw(next(iter(data.train_dataloader())))
    return images.float().cpu(), labels.cpu()


def _add_curves_and_points(
    trainer: Trainer,
    model: LightningModule,
    loader: EvalBatches,
    logits: Tensor,
    labels: Tensor,
    writer: "SummaryWriter",
    step: int,
) -> None:
    """Fills TensorBoard's PR tab, and its projector with the head's input for the first test images, if it has any."""
    if isinstance(model, NumberStages | Segmenter):
        return
    if isinstance(model, LabelStages):
        for number, name in enumerate(model.names[:IN_PR_TAB]):
            writer.add_pr_curve(f"test/{name}", labels[:, number], model.predicted(logits[:, number]), step)
        return
    probabilities, classes = _probabilities(model, logits), _data_of(trainer).classes
    for number, name in enumerate(classes[:IN_PR_TAB]):
        writer.add_pr_curve(f"test/{name}", labels == number, probabilities[:, number], step)
    if _shows_images(model, trainer):
        images, its_labels = loader.take(torch.arange(min(EMBEDDED, len(labels))))
        parts = [
            features_of(model.net, partial(_forward, trainer, model, some)) for some in images.split(loader.batch_size)
        ]
        features = [part for part in parts if part is not None]
        if features:
            names = [classes[label] for label in its_labels]
            add_to_projector(writer, torch.cat(features), names, images.cpu(), "test", step)
