"""Training a small network on few images: what overfitting.py and its cross-validation share."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch import seed_everything

from basics.cores import cores
from basics.errors import InputError, writing
from datamodules import CIFAR10
from datamodules.batches import EvalBatches, Images
from datamodules.images import EVAL_BATCH_SIZE
from datamodules.table_splits import Fold, Splitter
from harness.processes.pools import in_processes
from harness.runs.invocation import BY_PYTHON, Invocation, plain
from harness.runs.resume import Opened
from harness.tasks.study import quiet_trainer
from harness.training.fit import Job, fit_in
from harness.training.flags import FitFlags
from lit_modules import Classifier
from lit_modules.classifier import num_correct

T = TypeVar("T")

VAL_IMAGES = 300
PLAIN_NET: dict[str, Any] = {"widths": [8, 16, 64], "dropout": 0.0, "batch_norm": False}
NEVER = 10**9  # epochs: only the end of a training is saved
# Networks this small are faster on a CPU than on an accelerator.
ON_CPU = FitFlags(
    accelerator="cpu", devices=1, enable_progress_bar=False, pictures=False, checkpoint_epochs=NEVER, monitor=None
)


class Settings(NamedTuple):
    """What all trainings of a run have in common."""

    images: int
    max_epochs: int
    lr: float
    batch_size: int
    seed: int
    sample: bool
    data_dir: str
    invocation: Invocation = BY_PYTHON


class FewImages(CIFAR10):
    """A few of the training images, drawn by the seed, and `VAL_IMAGES` others for validation.

    Args:
        fold: the part of the few that is the validation split instead.
    """

    def __init__(self, settings: Settings, augment: str = "", fold: Fold | None = None) -> None:
        data_dir, batch_size, seed = settings.data_dir, settings.batch_size, settings.seed
        super().__init__(data_dir, batch_size, seed, VAL_IMAGES, augment, settings.sample)
        self.images, self.part = settings.images, fold

    def _split(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        val, others = super()._split(labels)
        if not 2 <= self.images <= len(others):
            raise InputError(
                f"images {self.images}: must be from 2 to {len(others):,}, besides {VAL_IMAGES} to validate"
            )
        few = self._draw(others, labels)
        if self.part:
            held_out, others = Splitter(self.images).fold(self.part)
            val, few = few[held_out], few[others]
        if self.batch_size > len(few):
            raise InputError(f"batch_size {self.batch_size}: there are only {len(few)} training images")
        return np.sort(val), np.sort(few)

    def _draw(self, others: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """The few, of those that do not validate; `labels` are those of all images."""
        return np.random.default_rng(self.seed).choice(others, self.images, replace=False)


def prepare(
    settings: Settings, augment: str = "", fold: Fold | None = None, **options: Any
) -> tuple[FewImages, Classifier]:
    """The data, ready for use, and a new model; `options` of Classifier say how it differs from the plain one."""
    seed_everything(settings.seed, verbose=False)
    data = FewImages(settings, augment, fold)
    data.prepare_data()
    data.setup()
    return data, new_model(settings, data, **options)


def new_model(settings: Settings, data: FewImages, **options: Any) -> Classifier:
    """A model for these data; `options` of Classifier say how it differs from the plain one."""
    told: dict[str, Any] = {"net_args": PLAIN_NET, "lr": settings.lr, **options}
    return Classifier("cnn", data.input_shape, data.num_classes, data.mean, data.std, **told)


def train_in(run: Path, settings: Settings, early_stopping: int = 0, **options: Any) -> dict[str, float]:
    """Trains in the directory `run`, with its output in log.txt, and returns loss and accuracy of each split.

    The model is that of the last epoch, or of the best one by validation loss with early stopping. All three splits are
    measured with dropout off, and with no augmentation or label smoothing.
    """
    with writing(run):
        run.mkdir()
    data, model = prepare(settings, **options)
    flags = replace(ON_CPU, max_epochs=settings.max_epochs, seed=settings.seed)
    if early_stopping:
        flags = replace(flags, early_stopping=early_stopping, monitor="val/loss")
    given = {"variant": run.name, **options, "early_stopping": early_stopping}
    kept = {**settings._asdict(), **settings.invocation.flags, **given}
    opened = Opened(run, flags=plain({name: value for name, value in kept.items() if name != "invocation"}))
    with (run / "log.txt").open("w") as log, redirect_stdout(log):
        metrics = fit_in(opened, Job(run.name, model, data), flags).metrics
    measured = {name: metrics[name] for name in ("val/acc", "val/loss", "test/acc", "test/loss", "epochs")}
    loss, accuracy = measure(model, training_batches(data))
    return {"train/acc": accuracy, "train/loss": loss, **measured}


def training_batches(data: FewImages) -> EvalBatches:
    """The training images, in order and never augmented."""
    images = Images(data.arrays.train_images, data.arrays.train_labels, torch.device("cpu"))
    return EvalBatches(images, data.train_indices, EVAL_BATCH_SIZE)


@torch.no_grad()
def measure(model: Classifier, batches: EvalBatches) -> tuple[float, float]:
    """Mean cross-entropy and accuracy on all images of the batches, with dropout off."""
    model.eval()
    loss, correct, count = 0.0, 0, 0
    for images, labels in batches:
        logits = model(images)
        loss += float(F.cross_entropy(logits, labels, reduction="sum"))
        correct += int(num_correct(logits, labels))
        count += len(labels)
    return loss / count, correct / count


def validate_fold(settings: Settings, weight_decay: float, fold: Fold) -> tuple[float, float]:
    """Loss and accuracy on the fold after training on the others; writes nothing."""
    data, model = prepare(settings, fold=fold, weight_decay=weight_decay)
    epochs = settings.max_epochs
    trainer = quiet_trainer(max_epochs=epochs, check_val_every_n_epoch=epochs, num_sanity_val_steps=0)
    trainer.fit(model, data)
    return float(trainer.callback_metrics["val/loss"]), float(trainer.callback_metrics["val/acc"])


def train_all(call: Callable[..., T], tasks: Sequence[tuple], jobs: int, tells: bool = True) -> list[T]:
    """The results of `call(*task)`, computed by `jobs` processes at a time; 0: as many as there are cores.

    Args:
        tells: prints how many are done, in ten lines at most.
    """
    workers, results = min(jobs or cores(), len(tasks)), []
    if workers == 1:
        coming: Iterable[T] = (call(*task) for task in tasks)
    else:
        coming = in_processes(call, tasks, workers, accelerators=0)
    for done, result in enumerate(coming, start=1):
        results.append(result)
        if tells and 10 * done // len(tasks) > 10 * (done - 1) // len(tasks):
            print(f"{done} of {len(tasks)} trainings are done", flush=True)
    return results


def read_curves(run: Path, names: Sequence[str]) -> dict[str, list[float]]:
    """What a training logged, epoch by epoch."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run)).Reload()
    return {name: [event.value for event in events.Scalars(name)] for name in names}
