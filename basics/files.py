"""Files that are written whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from basics.errors import writing


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a path in the same folder to write to; at the end, the file there replaces `path` in one step.

    Raises:
        InputFileError: it cannot be written; `path` is as it was before.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.unfinished")
    with writing(path):
        try:
            yield unfinished
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)
