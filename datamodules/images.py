"""What the image data sets share: arrays on disk, a seeded validation split, batches on the device."""

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from basics.amounts import amount
from basics.errors import InputError, MissingFileError, reading
from datamodules.arrays import ImageArrays, forget_pages, read_arrays
from datamodules.augment import check_sizes, parse_augmentations
from datamodules.batch_module import BatchModule
from datamodules.batches import EvalBatches, Images, TrainBatches
from datamodules.download import download_arrays
from datamodules.groups import groups_of_files
from datamodules.splits import TooFewError
from datamodules.table_splits import Fold, Parts, Splitter

AT_ONCE = 2**23  # bytes of images that are looked at together
EVAL_BATCH_SIZE = 512  # per device; no gradients are kept, so more fits than in training
EVAL_PIXELS = 512 * 64 * 64  # of such a batch, at most, unless training takes more


class ImageData(BatchModule):
    """An image classification data set. A subclass names it and says where the images come from.

    Args:
        data_dir: the folder that holds the data sets, each in a folder of its own.
        batch_size: training images per device and step.
        seed: of the validation split, the order of batches, and all random draws in training.
        val_size: the validation split, taken from the training files: a share below 1, or a number of images.
        augment: augmentations of the training images, such as "crop:4,flip" (see `augment.py`).
        sample: use the embedded sample instead; needs no files.
        balanced_sampling: draw equally many training images of each class in an epoch.
        fold: which part of the training files to hold out, as test split in place of the test files.
        group: what keeps images together, in training, validation or one fold, if their files have names: folder or
            prefix (see `groups.py`).

    Raises:
        InputError: an argument is out of range.
    """

    name: str  # the folder below data_dir
    torchvision_name: str | None = None  # the class in torchvision.datasets that downloads it; None: nothing does
    image_shape: tuple[int, ...]  # (H, W), or (H, W, 3), as on disk
    classes: tuple[str, ...]
    arrays: ImageArrays  # from `setup` on
    test_indices: np.ndarray  # of the training files, if a fold of them is held out
    make_sample: Callable[[], ImageArrays] | None = None  # a staticmethod; None: there is no sample
    stand_in: str = ""  # what the sample shows instead of the classes

    def __init__(
        self,
        data_dir: str = "data",
        batch_size: int = 64,
        seed: int = 0,
        val_size: float = 0.1,
        augment: str = "",
        sample: bool = False,
        balanced_sampling: bool = False,
        fold: Fold | None = None,
        group: str = "",
    ) -> None:
        super().__init__(batch_size, seed, val_size)
        self.balanced_sampling, self.group = balanced_sampling, group
        self.fold = Fold(*fold) if fold else None  # a checkpoint has a plain tuple
        self.data_dir, self.sample = Path(data_dir), sample
        self.augment, self.augmentations = augment, parse_augmentations(augment)
        self._train_images: Images | None = None

    @property
    def num_classes(self) -> int:
        return len(self.classes)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of a network's input."""
        height, width, *channels = self.image_shape
        return (channels[0] if channels else 1, height, width)

    @property
    def folder(self) -> Path:
        """Where the arrays are kept."""
        return self.data_dir / self.name

    @property
    def runs_name(self) -> str:
        """The name of the folder of its runs."""
        return self.name

    def prepare_data(self) -> None:
        if self.sample and self.make_sample is None:
            raise InputError(f"--sample: {self.name} has none")
        if not self.sample and not _exists(self.folder):
            if self.torchvision_name is None:
                raise MissingFileError(f"{self.folder}: not there; it should hold train_images.npy and the like")
            download_arrays(self.folder, self.torchvision_name)

    def setup(self, stage: str | None = None) -> None:
        """Opens and checks the arrays, splits them, and computes `mean` and `std` of the training split."""
        if hasattr(self, "arrays"):
            return
        check_sizes(self.augment, *self.image_shape[:2])
        arrays = self._make_sample() if self.sample else self._read()
        self._divide(arrays.train_labels)
        self.mean, self.std = channel_mean_std(arrays.train_images, self.train_indices)
        self.arrays = arrays

    def _make_sample(self) -> ImageArrays:
        make = type(self).make_sample
        assert make is not None  # else `prepare_data` has refused it
        return make()

    def _read(self) -> ImageArrays:
        return read_arrays(self.folder, self.image_shape, self.num_classes)

    @property
    def file_names(self) -> list[str]:
        """Those of the training files, in the order of the arrays; empty if they have none."""
        return []

    @property
    def test_names(self) -> list[str]:
        """Those of the test files, in the order of the arrays; empty if they have none."""
        return []

    @property
    def class_folders(self) -> tuple[str, ...]:
        """The names of folders in a file's name that say its class."""
        return self.classes

    @property
    def given_val(self) -> int:
        """How many of the training files, the last ones, are a validation split of their own."""
        return 0

    def _divide(self, labels: np.ndarray) -> None:
        """Finds the fold, the validation and the training split of the training files with these labels."""
        held_out, self.val_indices, self.train_indices = self.parts(labels, self.fold)
        if self.fold:
            self.test_indices = held_out

    def parts(self, labels: np.ndarray, fold: Fold | None) -> Parts:
        """Which of the training files with these labels the fold holds out, and which validate and train."""
        groups = self._groups() if self.group else None
        held_out, rest = np.arange(0), np.arange(len(labels))
        if not fold and (groups is None or (self.given_val and self.val_size)):
            if groups is not None:
                train, val = np.split(groups, [-self.given_val])
                way_out = "--val_size 0 trains on all, and --folds K deals whole groups"
                self._check_apart(train, val, "validation", way_out)
            return Parts(held_out, *self._split(labels))
        splitter = Splitter(len(labels), self._strata(labels), groups)
        try:
            if fold:
                held_out, rest = splitter.fold(fold)
            if groups is None:
                val, train = self._split(labels[rest])
                return Parts(held_out, rest[val], rest[train])
            rng = np.random.default_rng(self.seed)
            return Parts(held_out, *splitter.hold_out(rest, self._num_val(len(rest)), rng))
        except TooFewError as error:
            raise InputError(f"{self.data_dir}, {self.name}: {error}") from error

    def _groups(self) -> np.ndarray:
        """The number of each training file's group, (N,).

        Raises:
            InputError: the test files have one of these groups too.
        """
        files = self.file_names
        groups = groups_of_files(self.group, [*files, *self.test_names], self.class_folders)
        train, test = np.split(groups, [len(files)])
        self._check_apart(train, test, "test", "leave its images in one of the two")
        return train

    def _check_apart(self, groups: np.ndarray, others: np.ndarray, split: str, way_out: str) -> None:
        """Raises InputError if a group of the first training files is among those of the images of a split."""
        for place in np.flatnonzero(np.isin(groups, others))[:1]:
            said = f"{self.file_names[place]} has its group among the {split} images too"
            raise InputError(f"--group {self.group}: {said}; {way_out}")

    def _strata(self, labels: np.ndarray) -> np.ndarray | None:
        """Numbers of classes that get their share in every fold, (N,), if there are any."""
        return labels.astype(np.int64)

    def _split(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Which of the training images with these `labels` go to validation, and which to training."""
        num_val = self._num_val(len(labels))
        order = np.random.default_rng(self.seed).permutation(len(labels))
        return np.sort(order[:num_val]), np.sort(order[num_val:])

    def split_fingerprint(self) -> int:
        labels = np.concatenate([self.arrays.train_labels, self.arrays.test_labels])
        content = labels.astype("<f8" if labels.dtype.kind == "f" else "<u2").tobytes()
        return zlib.crc32(content, super().split_fingerprint())  # other data have another fingerprint

    def describe(self) -> str:
        """Sizes of the splits, and what the labels of the training split are."""
        return f"{self._sizes()}\n{self._says_labels()}"

    def _says_labels(self) -> str:
        """A line on the rarest and the commonest class of the training split."""
        counts = np.bincount(self.train_labels, minlength=self.num_classes)
        rare, common = np.argmin(counts), np.argmax(counts)
        if counts[rare] == counts[common]:
            return f"{self.num_classes} classes of {amount(int(counts[rare]), 'training image')} each"
        return (
            f"{self.num_classes} classes of {counts[rare]:,} ({self.classes[rare]})"
            f" to {counts[common]:,} ({self.classes[common]}) training images"
        )

    @property
    def train_labels(self) -> np.ndarray:
        """Those of the training split, (N,)."""
        return self.arrays.train_labels[self.train_indices]

    def _sizes(self) -> str:
        channels, height, width = self.input_shape
        num_tests = len(self.test_indices if self.fold else self.arrays.test_labels)
        stand_in = f": {self.stand_in}" if self.stand_in else ""
        return (
            f"{len(self.train_indices):,} training, {len(self.val_indices):,} validation and"
            f" {amount(num_tests, 'test image')} of {height} x {width} x {channels}"
            f"{f', from the embedded sample{stand_in}' if self.sample else ''}"
        )

    def train_dataloader(self) -> TrainBatches:
        return TrainBatches(
            self._training_files(),
            self.train_indices,
            self.batch_size,
            self.seed,
            self._epoch,
            self.augmentations,
            epochs=(self.trainer and self.trainer.max_epochs) or -1,
            part=self._part(),
            balance=self.train_labels if self.balanced_sampling else None,
        )

    @property
    def eval_batch_size(self) -> int:
        """Images per device and step where no gradients are kept."""
        height, width = self.image_shape[:2]
        return max(self.batch_size, min(EVAL_BATCH_SIZE, EVAL_PIXELS // (height * width)))

    def val_dataloader(self) -> EvalBatches:
        return EvalBatches(self._training_files(), self.val_indices, self.eval_batch_size, part=self._part())

    def test_dataloader(self) -> EvalBatches:
        if self.fold:
            return EvalBatches(self._training_files(), self.test_indices, self.eval_batch_size, part=self._part())
        return self.test_files()

    def test_files(self) -> EvalBatches:
        """All of them, which with a fold are not the test split."""
        test = Images(self.arrays.test_images, self.arrays.test_labels, self._device())
        return EvalBatches(test, np.arange(len(test.labels)), self.eval_batch_size, part=self._part())

    def gallery_dataloader(self) -> EvalBatches:
        """All training files, validation split included, in order and not augmented: what test images retrieve."""
        files = self._training_files()
        return EvalBatches(files, np.arange(len(files.labels)), self.eval_batch_size, part=self._part())

    def teardown(self, stage: str) -> None:
        self._train_images = None  # frees device memory

    def _training_files(self) -> Images:
        """Training and validation split, which share one copy on the device."""
        if self._train_images is None:
            self._train_images = Images(self.arrays.train_images, self.arrays.train_labels, self._device())
        return self._train_images


def _exists(folder: Path) -> bool:
    with reading(folder):  # a name may be too long, or below a folder that is another user's
        return folder.exists()


def channel_mean_std(images: np.ndarray, indices: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of the pixels at `indices`, per channel, on the scale 0..1."""
    # Counting the 256 values is exact, and faster than adding up floats.
    counts = torch.zeros(1 if images.ndim == 3 else images.shape[-1], 256, dtype=torch.long)  # (C, 256)
    rows = max(1, AT_ONCE // images[0].nbytes) if len(images) else 1
    for part in np.split(indices, range(rows, len(indices), rows)):
        pixels = torch.from_numpy(images[part])  # (n, H, W) or (n, H, W, 3)
        channels = pixels.unbind(-1) if pixels.ndim == 4 else [pixels]
        counts += torch.stack([torch.bincount(channel.flatten(), minlength=256) for channel in channels])
        forget_pages(images)
    shares = counts.double() / counts.sum(1, keepdim=True)
    values = torch.arange(256, dtype=torch.float64) / 255
    mean = shares @ values  # (C,)
    std = (shares @ values**2 - mean**2).sqrt()
    return mean.tolist(), std.masked_fill((counts > 0).sum(1) == 1, 0).tolist()  # which rounding may miss
