"""The official files of a data set: images through torchvision, as the arrays of `arrays.py`, and single files."""

import contextlib
import hashlib
import io
import os
import tempfile
from http.client import HTTPException
from pathlib import Path
from urllib.request import urlopen

import numpy as np
from filelock import FileLock

from datamodules.arrays import ImageArrays, write_arrays

TIMEOUT = 30  # seconds without an answer


def download_arrays(folder: Path, torchvision_name: str) -> None:
    """Downloads `torchvision.datasets.<torchvision_name>` and writes its arrays to `folder`.

    Several processes may call this at once: one downloads, the others wait and find it done.
    torchvision checks the MD5 of the archives; nothing of them is kept but the arrays.

    Raises:
        FileNotFoundError: the files could not be fetched, or are not the official ones.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f".{folder.name}.lock"):
        if folder.exists():
            return
        print(f"{folder}: not there yet, downloading {torchvision_name} ...", flush=True)
        try:
            arrays = _fetch(torchvision_name, folder.parent)
        except (
            OSError,
            RuntimeError,
            EOFError,
            HTTPException,
        ) as error:  # no network, wrong checksum, no HTTP
            raise FileNotFoundError(
                f"{folder}: no data there, and {torchvision_name} could not be downloaded"
                f" ({' '.join(str(error).split())}); put the arrays there, or use --sample"
            ) from error
        write_arrays(folder, arrays)


def _fetch(torchvision_name: str, scratch: Path) -> ImageArrays:
    import torchvision  # here, because only a first run needs it

    dataset = getattr(torchvision.datasets, torchvision_name)
    with tempfile.TemporaryDirectory(prefix=".download-", dir=scratch) as archives:
        with contextlib.redirect_stdout(io.StringIO()):  # torchvision reports every mirror it tries
            train, test = (dataset(archives, train=is_train, download=True) for is_train in (True, False))
        return ImageArrays(
            np.asarray(train.data), np.asarray(train.targets, np.uint8),
            np.asarray(test.data), np.asarray(test.targets, np.uint8),
        )  # fmt: skip


def download_file(path: Path, url: str, sha1: str) -> None:
    """Downloads a file, if it is not there, and writes it whole or not at all.

    Several processes may call this at once, as with `download_arrays`.

    Raises:
        FileNotFoundError: it could not be fetched, or is another one than `sha1` says.
    """
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.parent / f".{path.name}.lock"):
        if path.exists():
            return
        print(f"{path}: not there yet, downloading it ...", flush=True)
        try:
            with urlopen(url, timeout=TIMEOUT) as answer:
                content = answer.read()
            if (got := hashlib.sha1(content).hexdigest()) != sha1:
                raise OSError(f"SHA-1 {got} in place of {sha1}")
        except (OSError, HTTPException) as error:
            raise FileNotFoundError(
                f"{path}: not there, and could not be downloaded ({' '.join(str(error).split())});"
                " put the file there, or use --sample"
            ) from error
        unfinished = path.with_name(f".{path.name}.unfinished")
        with unfinished.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
