"""Images whose labels are in a CSV file: a row for each, with the name of its file and its label.

    file,label              file may also be called filename, path, image, image_path, image_id, img or id;
    a/0001.jpg,ant          label also class, target, category, species or breed
    b/17.jpg,bee            names are relative to the folder of the images; .jpg, .jpeg or .png may be left out

Of two columns with other names, the first has the files. A third column, split, may say which images are for train,
val or test; validation and valid are other words for val. Without it a tenth of each class is the test set, and
`--val_size` of the others the validation split, as of a folder of class folders. There may be further columns; which of
them has the labels, `--target` says. Labels that are no classes are read by `image_targets.py`.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import NamedTuple

from basics.errors import InputError, MissingFileError
from datamodules.csv_files import read_csv
from datamodules.listing import SPLITS, Listing, fingerprint, first_of
from datamodules.tables import Table, check_columns, missing_labels, refuse, usual_labels

FILE_COLUMNS = ("file", "filename", "file_name", "path", "image", "image_path", "image_id", "img", "id")
LABEL_COLUMNS = ("label", "class", "target", "category", "species", "breed")
SPLIT_COLUMN = "split"
ENDINGS = ("", ".jpg", ".jpeg", ".png")  # that may be missing in the table
SPLIT_OF = {word: split for split, words in SPLITS.items() for word in words}


class LabelledFiles(NamedTuple):
    """The rows of a table of image files."""

    table: Table
    columns: list[str]  # those that may have labels
    names: list[str]  # of the files as they are on the disk, relative to their folder, (N,)
    splits: list[str]  # train, val or test, (N,)

    @property
    def lines(self) -> list[int]:
        """Where the rows are in the file, (N,)."""
        return self.table.cells.index.tolist()


def list_labelled(root: Path, table: str, target: str = "", similar_labels: str = "trim") -> Listing:
    """Lists the files that a table names, with their classes; none of the images is opened.

    Args:
        root: the folder that their names are relative to.
        table: the CSV file; if it is not there, it is looked for in `root`.
        target: the column of the labels; "": the one that is called label, or by another usual name.
        similar_labels: what becomes of labels that differ in case, outer dots or blanks only; see `usual_labels`.

    Raises:
        MissingFileError: the table, or an image that it names, is not there.
        InputError: it has no columns of files and labels, a label is missing or similar to another, a file has two
            labels, there are fewer than two classes, or one that is not for training.
    """
    found = read_labels(root, table)
    path, column = found.table.source, label_column(found, target)
    cells = found.table.cells[column]
    refuse(found.table, column, cells.isin(missing_labels(found.table)), "is missing; each image needs a label")
    merged = usual_labels(found.table, column, similar_labels)
    labels = [merged.get(text, text) for text in cells]
    classes = tuple(sorted(set(labels)))
    if len(classes) < 2:
        raise InputError(f"{path}: need two or more classes, found {', '.join(classes) or 'none'}")
    seen: dict[str, str] = {}
    for name, label in zip(found.names, labels, strict=True):
        if seen.setdefault(name, label) != label:
            raise InputError(f"{path}: {name} is both {seen[name]!r} and {label!r}; --labels has one class for each")
    number = {name: label for label, name in enumerate(classes)}
    listing = listing_of(root, found, classes, {name: number[label] for name, label in seen.items()}, merged)
    if missing := set(number.values()) - set(listing.splits["train"].values()):
        raise InputError(f"{path}: class {classes[min(missing)]!r} has no image for training")
    return listing


def listing_of(
    root: Path,
    found: LabelledFiles,
    classes: tuple[str, ...],
    numbers: Mapping[str, int],
    merged: Mapping[str, str] = MappingProxyType({}),
) -> Listing:
    """The files by split, each with the number of its class.

    Args:
        merged: labels that were taken for another one.
    """
    splits: dict[str, dict[str, int]] = {split: {} for split in SPLITS}
    for name, split in zip(found.names, found.splits, strict=True):
        splits[split][name] = numbers[name]
    if not splits["train"]:
        raise InputError(f"{found.table.source}: names no image for training")
    folders = {split: "." for split, files in splits.items() if files}
    rows = sorted((name, split, number) for split, files in splits.items() for name, number in files.items())
    stamp = fingerprint(root, numbers, repr(rows))
    return Listing(classes, splits, folders, [], [], [], stamp, merged)


def read_labels(root: Path, table: str) -> LabelledFiles:
    """Finds the files that a table names.

    Raises:
        MissingFileError: the table, or an image that it names, is not there.
        InputError: it has no column of files, or names no file or no split in a row.
    """
    path = Path(table) if Path(table).exists() else root / table
    read = read_csv(path)
    column = _file_column(path, list(read.cells.columns))
    by = _called(list(read.cells.columns), [SPLIT_COLUMN])
    files, splits = [], []
    for line, file, split in _rows(read, column, by):
        if not file:
            raise InputError(f"{path}, line {line}: {column} is blank")
        if split not in SPLIT_OF:
            raise InputError(f"{path}, line {line}: {by} {split!r}: must be train, val or test")
        files.append(file)
        splits.append(SPLIT_OF[split])
    others = [name for name in read.cells.columns if name not in (column, by)]
    names = _found(root, path, files)
    _check_splits(path, names, splits)
    return LabelledFiles(read, others, names, splits)


def _check_splits(path: Path, names: Sequence[str], splits: Sequence[str]) -> None:
    """Raises InputError if a file that is in several rows is to train and to test."""
    split_of: dict[str, str] = {}
    for name, split in zip(names, splits, strict=True):
        if (other := split_of.setdefault(name, split)) != split:
            raise InputError(f"{path}: {name} is in two splits, {other} and {split}")


def _rows(table: Table, column: str, by: str) -> Iterator[tuple[int, str, str]]:
    """The line, the file and the split of each row, which is for training if the table does not say."""
    for line, row in zip(table.cells.index, table.cells.to_dict("records"), strict=True):
        yield line, str(row[column]).strip(), str(row.get(by, "train")).strip().lower()


def _file_column(path: Path, names: Sequence[str]) -> str:
    others = [name for name in names if name.lower() != SPLIT_COLUMN]
    found = _called(others, FILE_COLUMNS) or (others[0] if len(others) == 2 else "")
    if not found or len(others) < 2:
        raise _needs_columns(path, names)
    return found


def label_column(found: LabelledFiles, target: str) -> str:
    """The column of the labels: the `target`, or the one that has a usual name, or the only one.

    Raises:
        InputError: there is none.
    """
    if target:
        check_columns(found.table, [target], None)
        return target
    column = _called(found.columns, LABEL_COLUMNS) or (found.columns[0] if len(found.columns) == 1 else "")
    if not column:
        raise _needs_columns(found.table.source, list(found.table.cells.columns))
    return column


def _called(names: Sequence[str], words: Sequence[str]) -> str:
    """The first of the names, in the order of the words, that is one of them; "" if none is."""
    return next((name for word in words for name in names if name.lower() == word), "")


def _needs_columns(path: Path | str, names: Sequence[str]) -> InputError:
    needs = f"needs the columns file and label, and may have {SPLIT_COLUMN}; found {', '.join(names)}"
    return InputError(f"{path}: {needs}; --target COLUMN names that of the labels")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long for one, or in a folder that may not be entered
        return False


def _found(root: Path, table: Path, files: Sequence[str]) -> list[str]:
    """The names of the files as they are on the disk, relative to `root`."""
    names, missing = [], []
    for file in files:
        endings = [ending for ending in ENDINGS if _is_file(root / f"{file}{ending}")]
        names.append(_one_spelling(root, file + (endings or [""])[0]))
        missing += [] if endings else [file]
    if missing:
        raise MissingFileError(f"{table}: names files that are not in {root}: {len(missing):,}, {first_of(missing)}")
    return names


def _one_spelling(root: Path, file: str) -> str:
    """The name relative to `root` that is the same for a.png, ./a.png, b/../a.png and the whole path."""
    path = PurePath(file)
    if not path.is_absolute() and ".." not in path.parts:
        return path.as_posix()
    place = (root / path).parent.resolve() / path.name  # only folders, so that a link is an image by itself
    return PurePath(os.path.relpath(place, root.resolve())).as_posix()
