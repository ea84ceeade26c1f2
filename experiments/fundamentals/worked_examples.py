"""Worked examples: lines of torch, printed with what they are given and what comes of them, in 80 columns.

1.1  Rows become columns
     given  x = torch.arange(6).view(2, 3)
     torch  x.T
     numpy  x.T
     x (2, 3) int64  ->  (3, 2) int64
     [[0, 1, 2],         [[0, 3],
      [3, 4, 5]]          [1, 4],
                          [2, 5]]

The code is text, so that what is printed is what is run. It is code of this project and no input.
"""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from textwrap import wrap
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basics.choose import choose
from basics.errors import InputError

WIDTH = 80  # columns
INDENT = " " * 5
ROOM = WIDTH - len(INDENT)
NAMES: dict[str, Any] = {"torch": torch, "nn": nn, "F": F, "np": np}

Block = list[str]  # lines, printed beside other blocks


class Example(NamedTuple):
    """Code that is printed and run, and the same found another way.

    Attributes:
        title: what one should see.
        given: statements that make what the operation starts from.
        operation: statements between semicolons; the value of the last one is the result.
        peer: the same without torch, where every given tensor is an array of numpy; None: torch refuses the operation.
    """

    title: str
    given: str
    operation: str
    peer: str | None = None


class Outcome(NamedTuple):
    """What an example started from, printed, and its result, which is an exception where torch refused."""

    before: list[Block]
    result: Any


def given(example: Example) -> dict[str, Any]:
    """What the example starts from, by name."""
    names = dict(NAMES)
    exec(example.given, names)
    return {name: value for name, value in names.items() if name not in {*NAMES, "__builtins__"}}


def value_of(code: str, names: Mapping[str, Any]) -> Any:
    """Runs the statements of `code`, which are separated by semicolons, and returns the value of the last one."""
    *statements, last = code.split("; ")
    scope = NAMES | dict(names)
    exec("\n".join(statements), scope)
    return eval(last, scope)


def outcome_of(example: Example) -> Outcome:
    """Runs the example.

    Raises:
        RuntimeError: torch accepts what it should refuse.
    """
    names = given(example)
    before = [block_of(value, name) for name, value in names.items()]
    if example.peer is not None:
        return Outcome(before, value_of(example.operation, names))
    try:
        value_of(example.operation, names)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        return Outcome(before, error)
    raise RuntimeError(f"{example.operation}: should have been refused")


def chosen(names: Sequence[str], chapters: Mapping[str, Sequence[Example]]) -> dict[str, Sequence[Example]]:
    """The chapters with these names.

    Raises:
        InputError: there is no such chapter, or no name.
    """
    if not names:
        raise InputError("chapters []: name at least one")
    return {name: choose("chapter", name, chapters) for name in names}


def print_chapters(chapters: Mapping[str, Sequence[Example]], peer: str) -> dict[str, int]:
    """Prints and runs all examples; returns how many there are, and how many of them torch refuses.

    Args:
        chapters: examples by the name of their chapter.
        peer: what the `peer` of an example is called.
    """
    for number, (name, examples) in enumerate(chapters.items(), start=1):
        print(f"\n{f' {number}. {name} ':-^{WIDTH}}")
        for place, example in enumerate(examples, start=1):
            print("\n".join(lines_of(example, f"{number}.{place}", peer)))
    every = [example for examples in chapters.values() for example in examples]
    return {"examples": len(every), "refused": sum(example.peer is None for example in every)}


def lines_of(example: Example, number: str, peer: str) -> list[str]:
    """The example as it is printed, after an empty line; no line is longer than `WIDTH`."""
    texts = {"given": example.given, "torch": example.operation, peer: example.peer}
    before, result = outcome_of(example)
    lines = ["", *wrap(f"{number:<4} {example.title}", WIDTH, subsequent_indent=INDENT)]
    lines += [INDENT + line for label, text in texts.items() if text for line in _code(label, text)]
    after = _joined([["->"], block_of(result)]) if before else block_of(result)
    return lines + [INDENT + line for line in side_by_side([*before, after], ROOM)]


def _code(label: str, text: str) -> Block:
    """The code after its label, in one line if there is room for it, else a statement in each line."""
    lines = [text] if len(label) + len(text) + 2 <= ROOM else text.split("; ")
    return [f"{head:<{len(label)}}  {line}" for head, line in zip_longest([label], lines, fillvalue="")]


def block_of(value: Any, name: str = "") -> Block:
    """A value as lines: a tensor's shape, type and elements; the message of an exception; else what Python prints."""
    if isinstance(value, Exception):
        return wrap(f"{type(value).__name__}: {str(value).splitlines()[0]}", 44)
    if isinstance(value, Tensor | np.ndarray):
        return [_heading(value, name), *_elements(value)]
    if isinstance(value, tuple | list) and any(isinstance(part, Tensor) for part in value):
        return side_by_side([block_of(part) for part in value], ROOM)
    return wrap(f"{name} = {value}" if name else str(value), ROOM)


def _heading(value: Tensor | np.ndarray, name: str) -> str:
    kind = str(value.dtype).removeprefix("torch.")
    learns = ", requires grad" if isinstance(value, Tensor) and value.requires_grad else ""
    origin = "ndarray " if isinstance(value, np.ndarray) else ""
    return f"{name} {origin}{tuple(value.shape)} {kind}{learns}".strip()


def _elements(value: Tensor | np.ndarray) -> Block:
    array = value.detach().numpy() if isinstance(value, Tensor) else value
    text = np.array2string(
        array, separator=", ", precision=4, suppress_small=True, max_line_width=ROOM, threshold=24, edgeitems=2
    )
    return [line for line in text.splitlines() if line]


def side_by_side(blocks: Sequence[Block], width: int) -> Block:
    """Blocks of lines beside one another; one that no longer fits begins a new row."""
    rows: list[list[Block]] = [[]]
    for block in blocks:
        if rows[-1] and _width([*rows[-1], block]) > width:
            rows.append([])
        rows[-1].append(block)
    return [line for row in rows for line in _joined(row)]


def _width(row: Sequence[Block]) -> int:
    return sum(max(map(len, block), default=0) + 2 for block in row) - 2


def _joined(row: Sequence[Block]) -> Block:
    widths = [max(map(len, block), default=0) for block in row]
    return [
        "  ".join(line.ljust(width) for line, width in zip(lines, widths, strict=True)).rstrip()
        for lines in zip_longest(*row, fillvalue="")
    ]
