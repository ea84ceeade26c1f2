"""Checkpoints by address, such as https://host/best.ckpt#sha256=<64 digits>.

The digits are what `sha256sum best.ckpt` prints where the file comes from. They are required because a file that was
swapped on the way holds a model that does something else.
"""

import os
import re
from pathlib import Path

from basics.errors import InputError
from datamodules.download import download_file

LIMIT = 2**33  # bytes; one gigabyte is enough for 100 million weights and their optimizer's state


def download_checkpoint(address: str) -> Path:
    """The file at `address`, downloaded once to the user's cache and named there by its SHA-256.

    Raises:
        InputError: the address has no SHA-256.
        MissingFileError: it could not be downloaded, or is not the expected file.
    """
    url, _, fragment = address.partition("#")
    if not (sha256 := re.fullmatch(r"sha256=([0-9a-f]{64})", fragment)):
        raise InputError(f"{address}: add #sha256= and the 64 digits that `sha256sum` prints where the file comes from")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    path = cache / "checkpoints_by_sha256" / f"{sha256[1]}.ckpt"
    download_file(path, url, sha256[1], LIMIT, remedy="download it yourself, and name the file")
    return path
