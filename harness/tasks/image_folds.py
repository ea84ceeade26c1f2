"""Images as a cross-validation asks for them, and what its models say of them."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from basics.amounts import amount
from basics.errors import InputError
from datamodules import ImageData
from datamodules.batches import EvalBatches
from datamodules.image_targets import ImageNumbers, ImageTargets
from datamodules.listing import printable
from datamodules.other_rows import OtherRows
from lit_modules.stages import Stages


@dataclass
class ImageFolds:
    """The training files of image data, in folds, and the test files, which all folds' models predict together."""

    data: ImageData
    samples: str = "images"
    log_target: bool = False

    @property
    def name(self) -> str:
        return self.data.runs_name

    @property
    def target(self) -> str:
        return self.data.target if isinstance(self.data, ImageNumbers) else "label"

    @property
    def classification(self) -> bool:
        return not isinstance(self.data, ImageTargets)

    @property
    def classes(self) -> Sequence[str]:
        return self.data.classes

    @property
    def preprocessing(self) -> dict[str, Any]:
        if self.classification:
            return {"classes": list(self.data.classes), "log_target": False}
        return {"classes": [], "log_target": False, "labels": list(self.data.classes)}

    @property
    def targets(self) -> np.ndarray:
        return self._targets(self.data.arrays.train_labels)

    def _targets(self, labels: np.ndarray) -> np.ndarray:
        return labels.astype(np.int64) if self.classification else labels

    @property
    def ids(self) -> np.ndarray:
        return np.array([*map(printable, self.data.file_names)] or range(len(self.targets)))

    @property
    def id_column(self) -> str:
        return "file" if self.data.file_names else "image"

    @property
    def content(self) -> np.ndarray:
        return self._content(self.data.arrays.train_images, self.targets)

    def _content(self, images: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """A sum of each image's pixels, which is cheap, and its label or a hash of it, (N,)."""
        sums = images.reshape(len(images), -1).sum(1, dtype=np.int64)
        if self.classification:
            return sums * self.data.num_classes + targets
        return sums + np.array([zlib.crc32(each.tobytes()) for each in targets], np.int64)

    @property
    def val_indices(self) -> np.ndarray:
        return self.data.val_indices

    @property
    def test_indices(self) -> np.ndarray:
        return self.data.test_indices

    def prepare_data(self) -> None:
        self.data.prepare_data()

    def setup(self) -> None:
        self.data.setup()

    def check_folds(self) -> None:
        """Raises InputError if one of the folds would not learn a class: of one image, or of one group."""
        fold = self.data.fold
        if not self.classification or fold is None:
            return
        for number in range(fold.folds):
            _, _, train = self.data.parts(self.data.arrays.train_labels, fold._replace(number=number))
            counts = np.bincount(self.targets[train], minlength=len(self.classes))
            for label in np.flatnonzero(counts == 0)[:1]:
                name, images = self.classes[label], amount((self.targets == label).sum(), "image")
                raise InputError(
                    f"{self.data.name}: class {name!r}, of {images}, has none to train on in fold {number}"
                )

    def describe(self) -> str:
        tests = len(self.data.arrays.test_labels)
        return f"{self.data.describe()}\n{tests:,} images of the test files are predicted by the mean of all models"

    def other_rows(self) -> OtherRows:
        arrays = self.data.arrays
        targets = self._targets(arrays.test_labels)
        content = self._content(arrays.test_images, targets)
        return OtherRows(np.arange(len(targets)), arrays.test_images, content, targets)


def predict_images(model: Stages, folds: ImageFolds, _: OtherRows | None) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, (N, C), or numbers, (N,), of the images that the fold holds out, and of the test files."""
    model.float().eval()  # whatever precision it was trained in
    held_out, others = (_said(model, folds.data.test_dataloader()), _said(model, folds.data.test_files()))
    return held_out, others


@torch.inference_mode()
def _said(model: Stages, batches: EvalBatches) -> np.ndarray:
    said: list[Tensor] = []
    for images, _ in batches:
        said.append(model.to(images.device).exact_predictions(model(images)).cpu().double())
    return torch.cat(said).numpy()
