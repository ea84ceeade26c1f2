"""Images as a cross-validation asks for them, and what its models say of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datamodules import ImageData
from datamodules.batches import EvalBatches
from datamodules.table_data import OtherRows
from lit_modules import Classifier


@dataclass
class ImageFolds:
    """The training files of image data, in folds, and the test files, which all folds' models predict together."""

    data: ImageData
    target: str = "label"
    samples: str = "images"
    classification: bool = True
    log_target: bool = False

    @property
    def name(self) -> str:
        return self.data.name

    @property
    def classes(self) -> Sequence[str]:
        return self.data.classes

    @property
    def preprocessing(self) -> dict[str, Any]:
        return {"classes": list(self.data.classes), "log_target": False}

    @property
    def targets(self) -> np.ndarray:
        return self.data.arrays.train_labels.astype(np.int64)

    @property
    def ids(self) -> np.ndarray:
        return np.array(self.data.file_names or range(len(self.targets)))

    @property
    def id_column(self) -> str:
        return "file" if self.data.file_names else "image"

    @property
    def content(self) -> np.ndarray:
        """A sum of each image's pixels, which is cheap, and its label, (N,)."""
        images = self.data.arrays.train_images
        return images.reshape(len(images), -1).sum(1, dtype=np.int64) * self.data.num_classes + self.targets

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
        """Does nothing: `setup` has made one fold, and the others are as large."""

    def describe(self) -> str:
        tests = len(self.data.arrays.test_labels)
        return f"{self.data.describe()}\n{tests:,} images of the test files are predicted by the mean of all models"

    def other_rows(self) -> OtherRows:
        arrays = self.data.arrays
        return OtherRows(np.arange(len(arrays.test_labels)), arrays.test_images, arrays.test_labels.astype(np.int64))


def predict_images(model: Classifier, folds: ImageFolds) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, (N, C), of the images that the fold holds out, and of the test files."""
    model.float().eval()  # whatever precision it was trained in
    held_out, others = (
        _probabilities(model, folds.data.test_dataloader()),
        _probabilities(model, folds.data.test_files()),
    )
    return held_out, others


@torch.inference_mode()
def _probabilities(model: Classifier, batches: EvalBatches) -> np.ndarray:
    said: list[Tensor] = []
    for images, _ in batches:
        said.append(model.to(images.device).exact_predictions(model(images)).double().cpu())
    return torch.cat(said).numpy()
