"""What lies in a folder of class folders: the files of each split, with their classes.

    photos/train/<class>/*.jpg    the names do not matter; folders within a class folder are read too
    photos/val/<class>/*.jpg      optional; validation/ and valid/ mean the same, as do Training/ and Testing/
    photos/test/<class>/*.jpg     optional; without it, a tenth of each class of train/ is held out

    photos/<class>/*.jpg          the same without a train/, if there are images in each of the folders

Hidden files and folders, and what desktops leave behind, are skipped. The other way to say what the classes are is a
table (see `labels_file.py`).
"""

import hashlib
import os
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from basics.errors import InputError, InputFileError, MissingFileError, reading

SPLITS = {  # names of their folders, in capitals too
    "train": ("train", "training"),
    "val": ("val", "validation", "valid"),
    "test": ("test", "testing"),
}
DESKTOP_FILES = ("Thumbs.db", "desktop.ini")
HELD_OUT = 0.1  # share of each class
NAMED = 10  # files in a message; more make it unreadable
ALL = "."  # in place of the name of train/, where there is none
IMAGE_ENDINGS = (
    *(".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".jp2", ".avif"),
    *(".heic", ".heif"),
)  # of the files by which a folder of images is known; files with other names are read too


class Listing(NamedTuple):
    """Files by their names relative to the folder, each with the number of its class."""

    classes: tuple[str, ...]
    splits: dict[str, dict[str, int]]  # train, val and test; empty if there is no such folder
    folders: dict[str, str]  # the names of the folders that there are, by split
    stray: list[str]  # files of a split that are in no class folder
    unread: list[str]  # folders beside the splits
    passed: list[str]  # links to folders that are read anyway
    fingerprint: str  # of names, sizes and modification times, and of labels that are not in the names
    merged: Mapping[str, str] = MappingProxyType({})  # labels of a table that were taken for another one

    @property
    def files(self) -> dict[str, int]:
        return self.splits["train"] | self.splits["val"] | self.splits["test"]

    @property
    def aside(self) -> dict[str, str]:
        """What was not looked into, each with the reason."""
        return dict.fromkeys(self.unread, "not among the images") | dict.fromkeys(self.passed, "a link; read already")


def list_images(root: Path) -> Listing:
    """Lists the files below `root`; none is opened.

    Raises:
        MissingFileError: there is neither a train/ nor folders of images.
        InputError: there are fewer than two classes, an empty one, one that train/ lacks, or one that links to another;
            or two folders of one split.
    """
    with reading(root):
        folders = _visible(root)[0] if root.is_dir() else []
    its = _folders_of_splits(root, folders)
    if "train" not in its:
        if its or not _are_classes(root, folders):
            raise MissingFileError(
                f"{root}: no folder train/ there; images are expected as {root / 'train' / '<class>' / '*.jpg'},"
                f" and val/ and test/, if there are any, beside train/, or all as {root / '<class>' / '*.jpg'}"
            )
        its = {"train": ALL}
    read, passed = _read_splits(root, its.values())
    found = {split: read[name] for split, name in its.items()}
    classes = tuple(found["train"])
    if len(classes) < 2:
        only = f"only {classes[0]!r}" if classes else "none"
        raise InputError(f"{root / its['train']}: need a folder for each of two or more classes, found {only}")
    for name in classes:
        if printable(name) != name:
            raise InputError(f"{root / its['train'] / printable(name)}: the name of this class is not UTF-8; rename it")
    for split in found:
        _check(root / its[split], found[split], classes)
    number = {name: label for label, name in enumerate(classes)}
    splits = {
        split: {file: number[name] for name, files in found.get(split, {}).items() for file in files}
        for split in SPLITS
    }
    stray = [f"{folder}/{name}" for folder in its.values() for name in _visible(root / folder)[1] if folder != ALL]
    unread = [] if ALL in its.values() else [name for name in folders if name not in its.values()]
    return Listing(classes, splits, its, stray, unread, passed, fingerprint(root, chain(stray, *splits.values())))


def _folders_of_splits(root: Path, folders: Sequence[str]) -> dict[str, str]:
    """The folder of each split that has one."""
    found = {}
    for split, names in SPLITS.items():
        there = [name for name in folders if name.lower() in names]
        if len(there) > 1:
            raise InputError(f"{root}: {there[0]}/ and {there[1]}/ would both be {split}/; leave one of them")
        if there:
            found[split] = there[0]
    return found


def _are_classes(root: Path, folders: Sequence[str]) -> bool:
    """Whether each of two or more folders has images in it."""
    return len(folders) > 1 and all(any(map(_looks_like_image, files_below(root / name))) for name in folders)


def _looks_like_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_ENDINGS


def readable_splits(root: Path, listing: Listing, bad: Container[str]) -> dict[str, dict[str, int]]:
    """The listing's splits without the `bad` files, and with a test split, held out of train/ if it has no folder.

    Raises:
        InputError: a split or a class is left without images, or there is none to hold out.
    """
    splits = {
        split: {file: label for file, label in files.items() if file not in bad}
        for split, files in listing.splits.items()
    }
    for split, files in listing.splits.items():
        if files and not splits[split]:
            raise InputError(f"{root / listing.folders[split]}: no readable image in it")
    train = splits["train"]
    if unseen := set(range(len(listing.classes))) - set(train.values()):
        name = listing.classes[min(unseen)]
        folder = root / listing.folders["train"] / name  # a table's classes have none
        where = folder if folder.is_dir() else f"{root}, class {name!r}"
        raise InputError(f"{where}: no readable image in this class")
    if not splits["test"]:
        splits["test"] = {file: train.pop(file) for file in sorted(choose_test(train))}
        if not splits["test"]:
            raise InputError(f"{root}: no test images, and no class has two images to train on, one to hold out")
    return splits


def choose_test(train: Mapping[str, int]) -> set[str]:
    """A tenth of each class, and at least one image if it has two.

    A hash of the name decides, so no seed changes the test set. Further images may change it.
    """
    classes = defaultdict(list)
    for file, label in train.items():
        classes[label].append(file)
    chosen = set()
    for files in classes.values():
        files.sort(key=lambda file: hashlib.sha256(os.fsencode(file)).digest())
        chosen.update(files[: max(round(HELD_OUT * len(files)), int(len(files) > 1))])
    return chosen


def _visible(folder: Path) -> tuple[list[str], list[str]]:
    """Names of the folders and of the files in `folder`, sorted."""
    _, folders, files = next(os.walk(folder, onerror=_refuse))
    folders, files = (
        sorted(name for name in names if not name.startswith(".") and name not in DESKTOP_FILES)
        for names in (folders, files)
    )
    return folders, files


def _refuse(error: OSError) -> None:
    raise InputFileError(f"{error.filename}: cannot be listed ({error.strerror})")


class Walk:
    """Reads folders to any depth, each once, however many links lead to it.

    It skips links to a folder that has been read, to one that contains the link or the start, and into `own`, whose
    folders are read anyway, as part of another class.
    """

    def __init__(self, start: Path) -> None:
        self.own: set[Path] = set()  # real paths
        self.passed: list[Path] = []  # the links
        self._seen = {start.resolve(), *start.resolve().parents}

    def files(self, folder: Path) -> Iterator[Path]:
        """The files in `folder` and below it, except hidden ones and what desktops leave behind."""
        folders, files = _visible(folder)
        yield from (folder / name for name in files)
        for name in folders:
            if self.enters(folder / name):
                yield from self.files(folder / name)

    def enters(self, folder: Path) -> bool:
        """Whether to read the folder; ask once, because it counts as read from then on."""
        real, parent = folder.resolve(), folder.parent.resolve()
        linked = real != parent / folder.name
        if real in self._seen or (linked and (parent.is_relative_to(real) or not self.own.isdisjoint(real.parents))):
            self.passed.append(folder)
            return False
        self._seen.add(real)
        return True


def _read_splits(root: Path, splits: Iterable[str]) -> tuple[dict[str, dict[str, list[str]]], list[str]]:
    """The files of each class in each split, and the links that were skipped, by their names relative to `root`.

    Raises:
        InputError: a split, or a class, is a link to one that has been read already.
    """
    folders = {split: root / split for split in splits}
    walk = Walk(root)
    for folder in sorted(folders.values(), key=Path.is_symlink):  # links last, since they are the ones to refuse
        if folder != root:  # which counts as read
            _enter(walk, folder)
    walk.own = {folder.resolve() for folder in folders.values()}
    found: dict[str, dict[str, list[str]]] = {}
    for split, folder in folders.items():
        found[split] = {}
        for name in _visible(folder)[0]:
            _enter(walk, folder / name)
            found[split][name] = [file.relative_to(root).as_posix() for file in walk.files(folder / name)]
    return found, [link.relative_to(root).as_posix() for link in walk.passed]


def _enter(walk: Walk, folder: Path) -> None:
    if not walk.enters(folder):
        raise InputError(f"{folder}: a link to {folder.resolve()}, whose images are read already; remove the link")


def naming(bad: Mapping[str, str]) -> str:
    """How many files cannot be read, the first of them, and why."""
    return f"unreadable files: {len(bad):,}, namely {first_of([f'{file} ({reason})' for file, reason in bad.items()])}"


def first_of(names: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    first, more = ", ".join(map(printable, names[:NAMED])), len(names) - NAMED
    return f"{first} and {more:,} more" if more > 0 else first


def printable(path: str | Path) -> str:
    """A file's name, with an escape for whatever is not UTF-8."""
    return str(path).encode(errors="backslashreplace").decode()


def files_below(folder: Path) -> Iterator[Path]:
    """The files in `folder` and below it, see `Walk`."""
    return Walk(folder).files(folder)


def _check(folder: Path, found: dict[str, list[str]], classes: tuple[str, ...]) -> None:
    if not found:
        raise InputError(f"{folder}: no class folders in it")
    for name, files in found.items():
        if name not in classes:
            raise InputError(f"{folder / name}: train/ has no class {name!r}")
        if not files:
            raise InputError(f"{folder / name}: an empty class, no files in it")


def fingerprint(root: Path, names: Iterable[str], more: str = "") -> str:
    """16 digits that follow from the files' names, sizes and modification times, and from `more`."""
    digest = hashlib.sha256(more.encode())
    for name in names:
        try:
            stat = (root / name).stat()
            stamp = f"{stat.st_size} {stat.st_mtime_ns}"
        except OSError:  # a link to nothing, which decoding will name
            stamp = "none"
        digest.update(os.fsencode(name) + f"\0{stamp}\0".encode())
    return digest.hexdigest()[:16]
