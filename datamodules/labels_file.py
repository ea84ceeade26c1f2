"""Images whose classes are in a CSV file: a row for each, with the name of its file and its label.

    file,label              file may also be called filename, path, image, image_path, image_id, img or id;
    a/0001.jpg,ant          label also class, target, category, species or breed
    b/17.jpg,bee            names are relative to the folder of the images; .jpg, .jpeg or .png may be left out

Of two columns with other names, the first has the files. A third column, split, may say which images are for train,
val or test; validation and valid are other words for val. Without it a tenth of each class is the test set, and
`--val_size` of the others the validation split, as of a folder of class folders.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from basics.errors import InputError, MissingFileError
from datamodules.csv_files import read_csv
from datamodules.listing import SPLITS, Listing, fingerprint, first_of

FILE_COLUMNS = ("file", "filename", "file_name", "path", "image", "image_path", "image_id", "img", "id")
LABEL_COLUMNS = ("label", "class", "target", "category", "species", "breed")
SPLIT_COLUMN = "split"
ENDINGS = ("", ".jpg", ".jpeg", ".png")  # that may be missing in the table
SPLIT_OF = {word: split for split, words in SPLITS.items() for word in words}


def list_labelled(root: Path, table: str) -> Listing:
    """Lists the files that a table names; none of the images is opened.

    Args:
        root: the folder that their names are relative to.
        table: the CSV file; if it is not there, it is looked for in `root`.

    Raises:
        MissingFileError: the table, or an image that it names, is not there.
        InputError: it has no columns of files and labels, a label is missing, a file has two labels, there are fewer
            than two classes, or one that is not for training.
    """
    path = Path(table) if Path(table).exists() else root / table
    rows = list(_rows(path))
    classes = tuple(sorted({label for _, label, _ in rows}))
    if len(classes) < 2:
        raise InputError(f"{path}: need two or more classes, found {', '.join(classes) or 'none'}")
    number = {name: label for label, name in enumerate(classes)}
    names = _found(root, path, [file for file, _, _ in rows])
    splits: dict[str, dict[str, int]] = {split: {} for split in SPLITS}
    seen: dict[str, str] = {}
    for name, (_, label, split) in zip(names, rows, strict=True):
        if seen.setdefault(name, label) != label:
            raise InputError(f"{path}: {name} is both {seen[name]!r} and {label!r}; --labels has one class for each")
        splits[split][name] = number[label]
    if missing := set(number.values()) - set(splits["train"].values()):
        raise InputError(f"{path}: class {classes[min(missing)]!r} has no image for training")
    folders = {split: "." for split, files in splits.items() if files}
    stamp = fingerprint(root, seen, repr(sorted((name, *each) for each in splits.items() for name in each[1])))
    return Listing(classes, splits, folders, [], [], [], stamp)


def _rows(path: Path) -> Iterator[tuple[str, str, str]]:
    """The name of each file, its label and its split."""
    cells = read_csv(path).cells
    files, labels = _columns(path, list(cells.columns))
    given = SPLIT_COLUMN in cells.columns
    for line, row in zip(cells.index, cells.to_dict("records"), strict=True):
        file, label = str(row[files]).strip(), str(row[labels]).strip()
        split = str(row[SPLIT_COLUMN]).strip().lower() if given else "train"
        for column, value in ((files, file), (labels, label)):
            if not value:
                raise InputError(f"{path}, line {line}: {column} is blank")
        if split not in SPLIT_OF:
            raise InputError(f"{path}, line {line}: {SPLIT_COLUMN} {split!r}: must be train, val or test")
        yield file, label, SPLIT_OF[split]


def _columns(path: Path, names: Sequence[str]) -> tuple[str, str]:
    """The columns of the files and of the labels."""
    others = [name for name in names if name != SPLIT_COLUMN]
    found = [
        next((name for word in words for name in others if name.lower() == word), "")
        for words in (FILE_COLUMNS, LABEL_COLUMNS)
    ]
    if all(found):
        return found[0], found[1]
    if len(others) == 2:
        return others[0], others[1]
    raise InputError(f"{path}: needs the columns file and label, and may have {SPLIT_COLUMN}; found {', '.join(names)}")


def _found(root: Path, table: Path, files: Sequence[str]) -> list[str]:
    """The names of the files as they are on the disk, relative to `root`."""
    names, missing = [], []
    for file in files:
        endings = [ending for ending in ENDINGS if (root / f"{file}{ending}").is_file()]
        names.append(file + (endings or [""])[0])
        missing += [] if endings else [file]
    if missing:
        raise MissingFileError(f"{table}: names files that are not in {root}: {len(missing):,}, {first_of(missing)}")
    return names
