"""How wide the output may be."""

import shutil

NO_LIMIT = 10_000  # columns of a file


def columns() -> int:
    """The columns of the terminal, or of $COLUMNS if that is set; a file has no limit."""
    return shutil.get_terminal_size((NO_LIMIT, 0)).columns
