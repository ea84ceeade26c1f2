"""The images of a listing, decoded to two arrays on disk: none of them stays in memory."""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from datamodules.arrays import FILES, image_file
from datamodules.decode import Changes, decoded
from datamodules.listing import Listing, readable_splits
from datamodules.squares import Square

Splits = Mapping[str, Mapping[str, int]]


class Copies(NamedTuple):
    """Files that decode to the same pixels as an earlier one."""

    line: str  # how many, and where; "" for none
    files: dict[str, str]  # each with the first such file


class Unpacked(NamedTuple):
    """What there is to say of the arrays."""

    labels: dict[str, list[int]]  # by the name of their file
    bad: dict[str, str]  # the files that are not among them, and why
    copies: Copies
    notes: list[str]  # what was changed, a sentence each


class _Written(NamedTuple):
    bad: dict[str, str]
    hashes: dict[str, int]  # of the other files' pixels
    notes: list[str]


def unpack(
    root: Path, listing: Listing, square: Square, folder: Path, check: Callable[[Mapping[str, str]], None]
) -> Unpacked:
    """Writes the images for training and validation to one file in `folder`, and those for the test to another.

    Args:
        check: is shown the files that cannot be read, and may refuse to go on.

    Raises:
        InputError: a split or a class is left without images.
    """
    bad = dict.fromkeys(listing.stray, "in no class folder")
    while True:
        splits = readable_splits(root, listing, bad)
        written = _write(root, [[*splits["train"], *splits["val"]], [*splits["test"]]], square, folder)
        bad |= written.bad
        bad = {file: bad[file] for file in (*listing.stray, *listing.files) if file in bad}
        check(bad)
        kept = readable_splits(root, listing, bad)
        if _without(splits, bad) == kept:
            break  # else the test set, which is held out of train/, is chosen anew
    train_labels, test_labels = FILES[1], FILES[3]
    labels = {train_labels: [*kept["train"].values(), *kept["val"].values()], test_labels: [*kept["test"].values()]}
    return Unpacked(labels, bad, find_copies(written.hashes, kept), written.notes)


def _without(splits: Splits, bad: Mapping[str, str]) -> dict[str, dict[str, int]]:
    return {name: {file: label for file, label in part.items() if file not in bad} for name, part in splits.items()}


def _write(root: Path, parts: Sequence[Sequence[str]], square: Square, folder: Path) -> _Written:
    """Writes the images of both parts, in the order of the files."""
    bad, hashes, changes = {}, {}, Changes(square)
    files = [file for part in parts for file in part]
    results = iter(zip(files, decoded([root / file for file in files], square), strict=True))
    for part, name in zip(parts, (FILES[0], FILES[2]), strict=True):
        with image_file(folder / name, (square.size, square.size, 3)) as append:
            for file, result in islice(results, len(part)):
                if isinstance(result, str):
                    bad[file] = result
                    continue
                pixels = result.pixels.tobytes()
                append(pixels)
                hashes[file] = hash(pixels)
                changes.add(result)
    return _Written(bad, hashes, changes.notes())


def find_copies(hashes: Mapping[str, int], splits: Splits) -> Copies:
    """Compares 64-bit hashes of all files' pixels; `splits` have their classes.

    Of a million images, two that differ have the same hash with a chance of one in 10^7.
    """
    first: dict[int, str] = {}
    files = {}
    for file, number in hashes.items():
        if (original := first.setdefault(number, file)) != file:
            files[file] = original
    split_of = {file: split for split, part in splits.items() for file in part}
    classes = {file: label for part in splits.values() for file, label in part.items()}
    other_class = [file for file, original in files.items() if classes[file] != classes[original]]
    other_split = [file for file, original in files.items() if split_of[file] != split_of[original]]
    if not files:
        return Copies("", {})
    example = next(iter([*other_class, *other_split, *files]))
    return Copies(
        f"equal images: {len(files):,} {'is a copy of another' if len(files) == 1 else 'are copies of others'},"
        f" {len(other_class):,} in another class and {len(other_split):,} in another split,"
        f" {'namely' if len(files) == 1 else 'such as'} {example} of {files[example]}",
        files,
    )
