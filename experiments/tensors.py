"""Tensors: a course of 110 small examples, each with its shapes before and after, and pictures of memory.

    python experiments/tensors.py                                   all nine chapters
    python experiments/tensors.py --chapters broadcasting,picking   two of them, with their figures

Each example is printed as the code that is run, beside the same in numpy, what it is given, and what comes of it. In 11
of them torch refuses, and says why: `view` after a transpose, three numbers plus two, floats times integers as
matrices. What to see:

- A transpose moves no number, it only changes the strides. `view` after it refuses; used in its place, it scrambles.
- A slice shares memory, and a list of indices copies.
- Broadcasting reads a length of 1 again and again, with a stride of 0. It makes nine differences where one meant three.
- uint8 counts 250 + 10 as 4.

The figures draw the memory behind six tensors, broadcasting cell by cell, and a photograph whose channels were made by
`permute` and by `view`.
"""

from dataclasses import dataclass, field
from typing import Any

from experiments.fundamentals.tensor_figures import draw_broadcasting, draw_scramble, draw_strides
from experiments.fundamentals.tensor_numbers import MEMORY, PICKING, PRODUCTS, STATISTICS
from experiments.fundamentals.tensor_shapes import BROADCASTING, CREATION, INDEXING, JOINING, SHAPE
from experiments.fundamentals.worked_examples import chosen, print_chapters
from harness.command_line.cli import cli
from harness.tasks.study import Study, StudyFlags

CHAPTERS = {
    "creation": CREATION,
    "indexing": INDEXING,
    "shape": SHAPE,
    "broadcasting": BROADCASTING,
    "joining": JOINING,
    "products": PRODUCTS,
    "statistics": STATISTICS,
    "picking": PICKING,
    "memory": MEMORY,
}

FIGURES = {  # and the chapters that they belong to
    "strides": (draw_strides, {"shape", "memory"}),
    "broadcasting": (draw_broadcasting, {"broadcasting"}),
    "scramble": (draw_scramble, {"shape"}),
}
TRY_NEXT = "--chapters shape  # one chapter alone: which example surprises you?"


@dataclass(frozen=True, kw_only=True)
class TensorFlags(StudyFlags):
    """Which part of the course.

    Args:
        chapters: of creation, indexing, shape, broadcasting, joining, products, statistics, picking and memory.
    """

    chapters: list[str] = field(default_factory=lambda: list(CHAPTERS))


DEFAULTS = TensorFlags()


def main(flags: TensorFlags = DEFAULTS) -> dict[str, Any]:
    """Prints worked examples of tensors, and draws strides and broadcasting."""
    chapters = chosen(flags.chapters, CHAPTERS)
    study = Study("tensors", flags, try_next=TRY_NEXT)
    counts = print_chapters(chapters, peer="numpy")
    figures = {name: draw() for name, (draw, theirs) in FIGURES.items() if theirs & chapters.keys()}
    print()
    return study.conclude(counts, figures)


if __name__ == "__main__":
    cli(main)
