"""A table's file as text: its encoding, what separates its columns, and its header, found by looking if nobody says.

Read strictly: a byte-order mark, any line ends, spaces around values and blank lines at the end are accepted, and any
other departure from a table of equally long rows is an InputError that names the file, the line and the column.
"""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from basics.errors import InputError, reading
from datamodules.tables import MISSING, Fault, FaultyFileError, Table
from datamodules.written_numbers import NUMBER

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "'|'", " ": "blanks"}
NAMES = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|", "whitespace": " ", "space": " "}
LOOKED_AT = 100_000  # characters, to find what separates the columns


@dataclass(frozen=True)
class Reading:
    """How to read a file.

    Args:
        sep: what separates columns, a character or its name; " " for any blanks; "" to find out.
        encoding: such as cp1252; "" to find out.
        header: the first line has the columns' names; otherwise they are c1, c2 and so on.
        missing: texts that stand for a missing value.
        columns: names that the file should have; a first line that has one of them is a header, even one of numbers.
        usual: the separator that goes without saying.
        has_flags: messages may name --sep, --encoding and --no_header.
    """

    sep: str = ""
    encoding: str = ""
    header: bool = True
    missing: tuple[str, ...] = MISSING
    columns: tuple[str, ...] = ()
    usual: str = ","
    has_flags: bool = False

    def __post_init__(self) -> None:
        if self.sep and self.separator not in SEPARATORS:
            raise InputError(f"sep {self.sep!r}: must be comma, semicolon, tab, pipe or whitespace")
        if self.encoding:
            try:
                "a".encode(self.encoding)
            except (LookupError, UnicodeError):  # hex and undefined are codecs too, of no texts
                raise InputError(f"encoding {self.encoding!r}: is not known; try utf-8, utf-16 or cp1252") from None

    @property
    def separator(self) -> str:
        return NAMES.get(self.sep, self.sep)


FOUND_OUT = Reading()


class Record(NamedTuple):
    """A row of a file."""

    line: int  # in which it begins, the first being 1
    cells: list[str]


def read_csv(path: Path, how: Reading = FOUND_OUT, gathers: bool = False) -> Table:
    """Reads a file of text with a row in each line.

    Args:
        gathers: rows that are too short or too long are the table's `faults`, and raise nothing yet.

    Raises:
        MissingFileError: it is not there.
        InputError: it is no such file, rows are too short or too long, or a column's name occurs twice.
    """
    source = str(path)
    text, encoding = read_text(path, how)
    separator = how.separator or _separator(text)
    records = _records(source, text, separator)
    if not records:
        raise InputError(f"{path}: an empty file")
    header, nameless = _header(source, records, how)
    rows = records[how.header :]
    faults = [_wrong_length(header, row) for row in rows if len(row.cells) != len(header)]
    rows = [row for row in rows if len(row.cells) == len(header)]
    if faults and not (gathers and rows):
        raise FaultyFileError(source, faults)
    if not rows:
        raise InputError(f"{path}: a header and no rows")
    cells = pd.DataFrame([row.cells for row in rows], columns=header, index=[row.line for row in rows], dtype=object)
    notes = [*_unusual(path, encoding, separator, how)]
    if nameless:
        notes.append(f"columns without a name are called {', '.join(nameless)}")
    return Table(source, cells, how.missing, separator, "", tuple(notes), tuple(faults), nameless=tuple(nameless))


def _unusual(path: Path, encoding: str, separator: str, how: Reading) -> Iterator[str]:
    parts = [f"as {encoding}"] if encoding not in ("utf-8", "utf-8-sig", "ascii") else []
    flags = ["--encoding"] if parts else []
    if separator != how.usual:
        parts.append(f"with columns separated by {SEPARATORS[separator]}")
        flags.append("--sep")
    if parts:
        otherwise = f"; {' and '.join(flags)} would say otherwise" if how.has_flags else ""
        yield f"{path} is read {' and '.join(parts)}{otherwise}"


def read_text(path: Path, how: Reading = FOUND_OUT) -> tuple[str, str]:
    """The text of a file, and its encoding, which is found by looking if it is not given.

    Raises:
        InputError: it cannot be read, or is no text in it.
    """
    with reading(path):
        content = path.read_bytes()
    encoding = how.encoding or _encoding(str(path), content, how)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        reason = f"is not {encoding}; {'name another --encoding' if how.has_flags else 'save it as UTF-8'}"
        raise _undecodable(str(path), content, error.start, reason) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise InputError(f"{path}, line {line}: a zero byte; not a text file, or in another encoding")
    return text.removeprefix("\ufeff"), encoding


def _encoding(source: str, content: bytes, how: Reading) -> str:
    """UTF-8 or UTF-16 as their marks and bytes say, and otherwise Windows' western European code page."""
    if content.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    start = content[:1000]
    for zeros, encoding in ((start[1::2], "utf-16-le"), (start[::2], "utf-16-be")):
        if len(start) > 3 and zeros.count(0) > 0.9 * len(zeros):
            return encoding
    try:
        content.decode("utf-8")
        return "utf-8"
    except UnicodeDecodeError as error:
        _check_western(source, content, error.start, how)
    return "cp1252"


def _check_western(source: str, content: bytes, place: int, how: Reading) -> None:
    """Raises InputError for bytes that are no text in a western code page either, or that are UTF-8 for the most."""
    if re.search(rb"[\0-\x08\x0e-\x1f\x81\x8d\x8f\x90\x9d]", content):
        reason = "is not UTF-8, nor any usual text; "
        reason += "name its --encoding" if how.has_flags else "save it as UTF-8"
        raise _undecodable(source, content, place, reason)
    decoded = content.decode("utf-8", errors="replace")
    wrong = decoded.count("\ufffd")
    if sum(letter > "\x7f" for letter in decoded) - wrong > wrong:
        reason = "is not UTF-8, as the rest is; mend it"
        reason += ", or name the --encoding, such as cp1252" if how.has_flags else ""
        raise _undecodable(source, content, place, reason)


def _undecodable(source: str, content: bytes, place: int, reason: str) -> InputError:
    line, before = content[:place].count(b"\n") + 1, content[:place].rpartition(b"\n")[2]
    near = (before[-20:] + content[place : place + 10]).decode("latin-1").partition("\n")[0]
    return InputError(f"{source}, line {line}, after {before.count(b',')} commas: {near!r} {reason}")


def _separator(text: str) -> str:
    """The one by which most of the first lines have as many cells as the first of them.

    Of several that do equally well, a comma is the last but for blanks: it may also be in numbers.
    """
    shares = {each: _alike(text[:LOOKED_AT], each) for each in (";", "\t", "|", ",", " ")}
    best = max(shares.values())
    return next(each for each, share in shares.items() if share == best) if best else ","


def _alike(lines: str, separator: str) -> float:
    """The share of rows with as many cells as the first, which has two or more; 0 if it has only one."""
    lengths: list[int] = []
    lines = re.sub(r"\A\s*\n", "", lines)  # blank ones before the header
    with suppress(csv.Error):  # of a cell that is too long; the others tell enough
        lengths.extend(len(row) for row in _reader(lines, separator, strict=False))
    lengths = lengths[:-1] if len(lengths) > 2 else lengths  # the last one may have been cut
    return Counter(lengths)[lengths[0]] / len(lengths) if lengths and lengths[0] > 1 else 0.0


def _reader(text: str, separator: str, strict: bool = True) -> "csv._reader":  # type: ignore[name-defined]
    if separator == " ":
        text = "\n".join(line.replace("\t", " ").strip() for line in re.split("\r\n?|\n", text))
    csv.field_size_limit(max(csv.field_size_limit(), len(text)))  # no cell is too long
    lines = io.StringIO(text, newline="")
    return csv.reader(lines, delimiter=separator, strict=strict, skipinitialspace=True)


def _records(source: str, text: str, separator: str) -> list[Record]:
    """The rows, without blank lines at the beginning and at the end."""
    reader = _reader(text, separator)
    records, line = [], 1
    try:
        for cells in reader:
            records.append(Record(line, [cell.strip() for cell in cells]))
            line = reader.line_num + 1
    except csv.Error as error:
        begin = next(iter(text.splitlines()[line - 1 : line]), "")
        raise InputError(f"{source}, line {line}: {begin[:40]!r} has broken quotes ({error})") from None
    full = [place for place, record in enumerate(records) if any(record.cells) or len(record.cells) > 1]
    return records[full[0] : full[-1] + 1] if full else []


def _header(source: str, records: Sequence[Record], how: Reading) -> tuple[list[str], list[str]]:
    """The columns' names, and those of the columns that the file does not name."""
    (_, header), *rows = records
    if not how.header:
        return [f"c{number}" for number in range(1, len(header) + 1)], []
    if rows and all(len(row.cells) == len(header) + 1 for row in rows):
        # As R writes names of rows, or with a comma at the end of each.
        header = [*header, ""] if not any(row.cells[-1] for row in rows) else ["", *header]
    if not {*how.columns} & {*header}:
        _check_no_data(source, header, [row.cells for row in rows], how)
    named = [name or f"c{number}" for number, name in enumerate(header, 1)]
    for number, name in enumerate(named, 1):
        if name in named[: number - 1]:
            raise InputError(f"{source}, line 1: column {name!r} is there twice, as number {number} too")
    return named, [new for new, name in zip(named, header, strict=True) if not name]


def _check_no_data(source: str, header: Sequence[str], rows: Sequence[Sequence[str]], how: Reading) -> None:
    """Raises InputError if the names are a row of data: numbers, or texts that are among their columns' values."""
    numbers = [bool(NUMBER.fullmatch(name)) for name in header]
    numbered = all(numbers) and [float(name) for name in header] == list(range(len(header)))  # as pandas and numpy do
    seen = [{row[place] for row in rows if place < len(row)} for place in range(len(header))]
    alike = [number or name in values for number, name, values in zip(numbers, header, seen, strict=True)]
    fractions = [name for name, number in zip(header, numbers, strict=True) if number and "." in name]
    if fractions or (all(alike) and not numbered and rows):
        name = fractions[0] if fractions else header[0]
        way = " give --no_header, and the columns are c1, c2 and so on, or" if how.has_flags else ""
        raise InputError(
            f"{source}, line 1: {name!r} as the name of column {list(header).index(name) + 1}: this is a row of data;"
            f"{way} put a line with the columns' names above it"
        )


def _wrong_length(header: list[str], row: Record) -> Fault:
    line, cells = row
    column, what = (header[len(cells)], "short") if len(cells) < len(header) else (header[-1], "long")
    reason = f"ends a row that is too {what}: {len(cells)} of {len(header)} columns"
    if len(cells) > len(header) and not any(cells[len(header) :]):
        reason += "; a separator at its end is too many"
    return Fault(line, column, cells[-1] if cells else "", reason)
