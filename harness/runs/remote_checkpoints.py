"""Checkpoints by address, such as https://host/best.ckpt#sha256=<64 digits>.

The digits are what `sha256sum best.ckpt` prints where the file comes from. They are asked for because a model that
somebody has exchanged on the way is a model that does something else.
"""

import os
import re
from pathlib import Path

from basics.errors import InputError
from datamodules.download import download_file

LIMIT = 2**33  # bytes; a gigabyte holds a network of 100 million weights with an optimizer's state


def download_checkpoint(address: str) -> Path:
    """The file at `address`, which is downloaded once to the user's cache, where its name is its SHA-256.

    Raises:
        InputError: the address has no SHA-256.
        MissingFileError: it could not be downloaded, or is another file.
    """
    url, _, fragment = address.partition("#")
    if not (sha256 := re.fullmatch(r"sha256=([0-9a-f]{64})", fragment)):
        raise InputError(f"{address}: add #sha256= and the 64 digits that `sha256sum` prints where the file comes from")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    path = cache / "checkpoints_by_sha256" / f"{sha256[1]}.ckpt"
    download_file(path, url, sha256[1], LIMIT, remedy="download it yourself, and name the file")
    return path
