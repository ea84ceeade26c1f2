"""A user's own images: a folder of class folders (see `listing.py`), decoded once to arrays.

The arrays are kept below `<data_dir>/.arrays/`, by image size and a fingerprint of the files: a folder that has changed
is decoded again, an unchanged one only memory-mapped. They are written image by image, so a folder may hold more than
memory does. New arrays replace those of other sizes and earlier states, unless a process is using them. Nothing else in
the folder is touched.
"""

import hashlib
import json
import os
import re
import shutil
import weakref
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from basics.choose import choose
from basics.errors import InputError, InputFileError
from datamodules import samples
from datamodules.arrays import ImageArrays, whole_folder, write_array
from datamodules.claims import claim, remove_unused
from datamodules.images import ImageData
from datamodules.labels_file import list_labelled
from datamodules.listing import ALL, Listing, first_of, list_images, naming, readable_splits
from datamodules.splits import TooFewError, hold_out, lacking
from datamodules.squares import FITS, Square
from datamodules.tables import check_similar

LAYOUT = 3  # raise it when files are decoded or split differently, so that older arrays are not read
ARRAYS = re.compile(r"\d+px(-pad|-stretch)?-\d+-[0-9a-f]{16}")  # names of their folders
UNFINISHED = re.compile(rf"\.{ARRAYS.pattern}-\w+")  # left by a process that was killed while writing
OLD_LOCK = re.compile(rf"\.{ARRAYS.pattern}\.lock")
LOCK = ".lock"  # held by the process that decodes
SKIPPED = "skipped.json"  # beside the arrays: all that was left out, each with the reason
COPIES = "copies.json"  # and the files with the same pixels as another


class ImageFolder(ImageData):
    """Images of `data_dir`/{train,val,test}/<class>/, as RGB squares.

    A val/ may be called validation/ or valid/. Without it the validation split is taken from train/, by `val_size` and
    `seed`, with its share of each class (see `splits.py`); with a `val_size` of 0 it is for training too. Without test/
    a tenth of each class of train/ is the test set, the same for every seed. With `sample` the images are generated
    32 x 32 shapes, whatever `image_size` says. The other arguments are those of `ImageData`.

    Args:
        data_dir: the folder that holds train/.
        image_size: side of the images in pixels, to which they are resized.
        skip_bad: skip files that cannot be read as images, instead of ending with an error.
        fit: what of an image that is not square: crop, its middle; pad, all of it between bars; stretch, all of it.
        labels: a CSV file with the class of each image (see `labels_file.py`); "": folders are the classes.
        target: the column of `labels` that has them; "": found by its name.
        similar_labels: what becomes of labels that differ in case, outer dots or blanks only (see `tables.py`).

    Raises:
        InputError: an argument is out of range.
    """

    name = "own_images"
    make_sample = staticmethod(samples.shapes)

    def __init__(
        self,
        data_dir: str = "data",
        batch_size: int = 64,
        seed: int = 0,
        val_size: float = 0.1,
        augment: str = "",
        sample: bool = False,
        image_size: int = 64,
        skip_bad: bool = False,
        fit: str = "crop",
        labels: str = "",
        target: str = "",
        similar_labels: str = "trim",
        **options: Any,
    ) -> None:
        super().__init__(data_dir, batch_size, seed, val_size, augment, sample, **options)
        if image_size < 16:  # the least that networks take
            raise InputError(f"image_size {image_size}: must be at least 16 pixels")
        self.image_shape = (32, 32, 3) if sample else (image_size, image_size, 3)
        choose("fit", fit, FITS)
        if sample and labels:
            raise InputError(f"labels {labels}: --sample has images of its own; leave one of them out")
        if target and not labels:
            raise InputError(f"target {target}: is a column of --labels FILE.csv, which says what is in each image")
        check_similar(similar_labels)
        if similar_labels != "trim" and not labels:
            raise InputError(f"similar_labels {similar_labels}: is for --labels FILE.csv, not for folders")
        self.skip_bad, self.fit, self.labels, self.target = skip_bad, fit, labels, target
        self.similar_labels = similar_labels

    @cached_property
    def listing(self) -> Listing:
        if self.labels:
            return list_labelled(self.data_dir, self.labels, self.target, self.similar_labels)
        return list_images(self.data_dir)

    @property
    def classes(self) -> tuple[str, ...]:  # type: ignore[override]  # the images tell
        return samples.SHAPES if self.sample else self.listing.classes

    @cached_property
    def folder(self) -> Path:
        """Beside the images, or in the user's cache if that is read-only, as shared data sets are."""
        fit = "" if self.fit == "crop" else f"-{self.fit}"
        name = f"{self.image_shape[0]}px{fit}-{LAYOUT}-{self.listing.fingerprint}"
        beside = self.data_dir / ".arrays"
        if os.access(beside / name, os.R_OK) or os.access(beside if beside.exists() else self.data_dir, os.W_OK):
            return beside / name
        place = hashlib.sha256(os.fsencode(self.data_dir.resolve())).hexdigest()[:16]
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / self.name / place / name

    def prepare_data(self) -> None:
        """Decodes the images if their arrays are missing. One of several processes does, and the others wait.

        Raises:
            InputError: a file cannot be read and `skip_bad` is not set, or a class or split has no readable one.
            InputFileError: the arrays cannot be written.
        """
        if self.sample or self._claim():
            return
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder.parent / LOCK):
                if not self._claim():
                    shutil.rmtree(self.folder, ignore_errors=True)  # the rest of half-removed arrays
                    self._decode()
                    self._claim()
                    self._remove_others()
        except OSError as error:
            raise InputFileError(f"{self.folder}: the decoded images cannot be kept there ({error})") from error

    def _claim(self) -> bool:
        """Whether the arrays are there; if so, they stay as long as this object does."""
        if file := claim(self.folder):
            weakref.finalize(self, file.close)
        return bool(file)

    def _remove_others(self) -> None:
        there = [path for path in self.folder.parent.iterdir() if path != self.folder]
        for path in there:  # whoever holds the lock knows that nobody is writing these
            if UNFINISHED.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)
            elif OLD_LOCK.fullmatch(path.name):
                path.unlink()
        if removed := remove_unused(path for path in there if ARRAYS.fullmatch(path.name)):
            print(f"{self.data_dir}: removed arrays that were not in use: {first_of([p.name for p in removed])}")

    def _decode(self) -> None:
        from datamodules.unpack import unpack  # here, because only a first run needs it

        size = self.image_shape[0]
        says = f"decoding {len(self.listing.files):,} images to {size} x {size}, kept in {self.folder}"
        print(f"{self.data_dir}: {says}", flush=True)
        with whole_folder(self.folder) as unfinished:
            unpacked = unpack(self.data_dir, self.listing, Square(size, self.fit), unfinished, self._refuse_bad)
            label_type = np.uint8 if self.num_classes <= 256 else np.uint16
            for name, labels in unpacked.labels.items():
                write_array(unfinished / name, np.array(labels, label_type))
            skipped = unpacked.bad | self.listing.aside
            for name, content in ((SKIPPED, skipped), (COPIES, unpacked.copies._asdict())):
                (unfinished / name).write_text(json.dumps(content, indent=1))
        notes = [*unpacked.notes, f"{naming(unpacked.bad)}; left out"] if unpacked.bad else unpacked.notes
        for note in notes:
            print(f"{self.data_dir}: {note}", flush=True)

    def _refuse_bad(self, bad: Mapping[str, str]) -> None:
        if bad and not self.skip_bad:
            raise InputError(f"{self.data_dir}: {naming(bad)}; remove them, or leave them out by --skip_bad")

    @cached_property
    def skipped(self) -> dict[str, str]:
        """Files left out when the arrays were made, each with the reason."""
        if self.sample:
            return {}
        return {file: why for file, why in self._note(SKIPPED).items() if file not in self.listing.aside}

    def _note(self, name: str) -> dict[str, Any]:
        try:
            return dict(json.loads((self.folder / name).read_text()))
        except (OSError, ValueError, TypeError, RecursionError) as error:
            raise InputError(f"{self.folder / name}: damaged; remove {self.folder} to decode it anew") from error

    def _read(self) -> ImageArrays:
        arrays = super()._read()
        if self.group and not self.listing.splits["test"]:
            way_out = self._way_to_have("test")
            raise InputError(
                f"--group {self.group}: a test set taken from training images would part groups; {way_out}"
            )
        self._refuse_bad(self.skipped)  # the arrays may be from an earlier run with --skip_bad
        return arrays

    @property
    def given_val(self) -> int:
        alone = self.sample or self.fold  # with folds all images take turns
        return 0 if alone else len(self.listing.splits["val"].keys() - self.skipped.keys())

    @property
    def file_names(self) -> list[str]:
        if self.sample:
            return []
        splits = readable_splits(self.data_dir, self.listing, self.skipped)
        return [*splits["train"], *splits["val"]]

    @property
    def test_names(self) -> list[str]:
        return [] if self.sample else [*readable_splits(self.data_dir, self.listing, self.skipped)["test"]]

    @property
    def class_folders(self) -> tuple[str, ...]:
        return () if self.labels else self.classes  # else folders that happen to be called like a class

    def _split(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        num_val = self.given_val
        if num_val and self.val_size:  # validation images from a folder of their own come after the training images
            rows = np.arange(len(labels))
            return rows[-num_val:], rows[:-num_val]
        try:
            return hold_out(labels, self._num_val(len(labels)), np.random.default_rng(self.seed))
        except TooFewError as error:
            way_out = f"add images, or {self._way_to_have('val')}"
            raise InputError(f"val_size {self.val_size:g}: {error}; {way_out}") from error

    def _way_to_have(self, split: str) -> str:
        """What to do for a split to have images of its own."""
        if self.labels:
            return f"name its images in a column split of {self.labels}"
        return f"make a {split}/" if self.listing.folders["train"] != ALL else f"make a train/ and a {split}/"

    def describe(self) -> str:
        """What `ImageData` says, and how the splits came about."""
        lines = [super().describe()]
        if self.sample:
            return lines[0]
        lines += [f"label {other!r} is taken as {usual!r}" for other, usual in self.listing.merged.items()]
        if not self.listing.splits["test"]:
            lines.append(self._says_test())
        lines += [] if self.listing.splits["val"] else self._says_more_val(self.group)
        if small := self._too_small():
            lines.append(small)
        if self.listing.splits["val"] and not self.fold:
            folder = self.labels or self.data_dir / self.listing.folders["val"]
            given = f"the validation images are those of {folder}; --val_size has no effect"
            lines.append(given if self.val_size else f"val_size 0: the images of {folder} are training images too")
        if self.listing.unread:
            lines.append(f"not read, being neither train/ nor val/ nor test/: {first_of(self.listing.unread)}")
        if passed := self.listing.passed:
            lines.append(f"links passed over, since what they lead to is read already: {first_of(passed)}")
        if self.skipped:
            lines.append(f"unreadable files left out: {len(self.skipped):,}, listed in {self.folder / SKIPPED}")
        if line := self._note(COPIES)["line"]:
            lines.append(f"{line}; listed in {self.folder / COPIES}")
        return "\n".join(lines)

    def _says_test(self) -> str:
        if self.labels:
            return f"{self.labels} names no test images: a tenth of each class is the test set, the same for every seed"
        whole = "of train/" if self.listing.folders["train"] != ALL else "of each class"
        return f"there is no {self.data_dir / 'test'}: a tenth {whole} is the test set, the same for every seed"

    def _too_small(self) -> str:
        """A line on the classes with too few images for the splits that were taken from train/."""
        labels, given = self.arrays.train_labels, self.listing.splits
        parts = {"training": labels[self.train_indices]}
        parts |= {} if given["val"] else {"validation": labels[self.val_indices]}
        parts |= {} if given["test"] else {"test": self.arrays.test_labels}
        return lacking(parts, self.classes)
