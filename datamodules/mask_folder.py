"""Images with masks, for segmentation: a folder of them (see `mask_files.py`), or the generated scenes."""

from functools import cached_property
from pathlib import Path

import numpy as np

from basics.errors import InputError
from datamodules import scenes
from datamodules.arrays import ImageArrays
from datamodules.augment import NOT_FOR_MASKS, moves_pixels
from datamodules.batches import EvalBatches, Masked
from datamodules.images import ImageData
from datamodules.listing import choose_test, first_of
from datamodules.mask_batches import MaskBatches
from datamodules.mask_files import OBJECT, Pairs, list_pairs, read_classes, read_pairs


class MaskFolder(ImageData):
    """Images with masks, which take the place of labels: uint8, (N, H, W), of the numbers of `classes`.

    A tenth of the images is the test set, the same for every seed; the validation split is taken from the others by
    `val_size` and `seed`. The files are decoded at each start. The other arguments are those of `ImageData`.

    Args:
        data_dir: the folder that holds images/ and masks/.
        sample: use the generated scenes of 48 x 48 pixels instead, whatever `image_size` says.
        image_size: side of the images in pixels, to which they and their masks are stretched.
        classes: their names, in the order of their numbers in the masks; None: those of the folder's classes.txt.
        binary: take all classes but the first for one.

    Raises:
        InputError: an argument is out of range.
    """

    name = "segmentation"
    stand_in = "generated scenes"

    def __init__(
        self,
        data_dir: str = "data",
        batch_size: int = 32,
        seed: int = 0,
        val_size: float = 0.1,
        augment: str = "",
        sample: bool = False,
        image_size: int = 64,
        classes: list[str] | None = None,
        binary: bool = False,
    ) -> None:
        super().__init__(data_dir, batch_size, seed, val_size, augment, sample)
        if image_size < 16:
            raise InputError(f"image_size {image_size}: must be at least 16 pixels")
        if refused := [name for name in NOT_FOR_MASKS if name in augment]:
            raise InputError(f"augment {refused[0]}: masks cannot follow it")
        side = scenes.SIDE if sample else image_size
        self.image_shape, self.given, self.binary = (side, side, 3), classes, binary
        self._train_masked: Masked | None = None

    @cached_property
    def pairs(self) -> Pairs:
        return list_pairs(self.data_dir)

    @cached_property
    def _all_classes(self) -> tuple[str, ...]:
        return scenes.CLASSES if self.sample else read_classes(self.data_dir, self.given)

    @property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]  # the folder tells
        if not self.binary:
            return self._all_classes
        return self._all_classes if len(self._all_classes) == 2 else (self._all_classes[0], OBJECT[1])

    @property
    def folder(self) -> Path:
        """Where the images are."""
        return self.data_dir / "images"

    def prepare_data(self) -> None:
        """Does nothing: each process reads the files itself."""

    def _make_sample(self) -> ImageArrays:
        return self._merged(scenes.scenes())

    def _read(self) -> ImageArrays:
        """Reads all files.

        Raises:
            InputError: files are missing, unreadable, or do not fit each other; see `mask_files.py`.
        """
        found, size = self.pairs.found, self.image_shape[0]
        images, masks = read_pairs(list(found.values()), size, len(self._all_classes))
        for_test = choose_test(dict.fromkeys(found, 0))
        if not for_test:
            raise InputError(f"{self.data_dir}: has one image; it takes at least three, to train, validate and test")
        tests = np.array([name in for_test for name in found])
        return self._merged(ImageArrays(images[~tests], masks[~tests], images[tests], masks[tests]))

    def _merged(self, arrays: ImageArrays) -> ImageArrays:
        if not self.binary:
            return arrays
        train, test = (np.minimum(masks, 1) for masks in (arrays.train_labels, arrays.test_labels))
        return arrays._replace(train_labels=train, test_labels=test)

    def _split(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        val, train = super()._split(labels)
        missing = np.flatnonzero(np.bincount(labels[train].ravel(), minlength=self.num_classes) == 0)
        if len(missing):
            name = self.classes[missing[0]]
            raise InputError(
                f"{self.data_dir}: class {name!r}, number {missing[0]}, is in no mask of the training split"
            )
        return val, train

    def describe(self) -> str:
        """Sizes of the splits, shares of the rarest and the commonest class, and what of the folder is not used."""
        pixels = np.bincount(self.arrays.train_labels[self.train_indices].ravel(), minlength=self.num_classes)
        shares = {
            name: f"{share:.1%} ({name})" for name, share in zip(self.classes, pixels / pixels.sum(), strict=True)
        }
        rare, common = (self.classes[place(pixels)] for place in (np.argmin, np.argmax))
        spread = f"of {shares[rare]} to {shares[common]}" if rare != common else f"each {pixels[0] / pixels.sum():.1%}"
        lines = [self._sizes(), f"{self.num_classes} classes, {spread} of the training pixels"]
        if not self.sample:
            lines.append(f"a tenth of the images in {self.data_dir} is the test set, the same for every seed")
            if unused := self.pairs.unused:
                lines.append(f"masks without an image, not used: {first_of([str(path) for path in unused])}")
        return "\n".join(lines)

    def train_dataloader(self) -> MaskBatches:
        return MaskBatches(
            self._training_files(),
            self.train_indices,
            self.batch_size,
            self.seed,
            self._epoch,
            self.augmentations,
            epochs=(self.trainer and self.trainer.max_epochs) or -1,
            part=self._part(),
            num_classes=self.num_classes,
            moves=moves_pixels(self.augment),
        )

    def val_dataloader(self) -> EvalBatches:
        return EvalBatches(self._training_files(), self.val_indices, self.batch_size, part=self._part())

    def test_dataloader(self) -> EvalBatches:
        test = Masked(self.arrays.test_images, self.arrays.test_labels, self._device())
        return EvalBatches(test, np.arange(len(test.masks)), self.batch_size, part=self._part())

    def _training_files(self) -> Masked:  # type: ignore[override]  # masks in place of labels
        if self._train_masked is None:
            self._train_masked = Masked(self.arrays.train_images, self.arrays.train_labels, self._device())
        return self._train_masked

    def teardown(self, stage: str) -> None:
        self._train_masked = None  # frees device memory
