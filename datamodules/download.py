"""The official files of a data set, and single files: checked by SHA-256 before anything reads them.

A file gets its name only when it is whole and checked. One of several processes downloads, and the others wait.
"""

import contextlib
import gzip
import hashlib
import os
import shutil
import tarfile
from collections.abc import Callable, Sequence
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.request import urlopen

import numpy as np
from filelock import FileLock

from basics.errors import InputFileError, MissingFileError, reading
from datamodules.arrays import ImageArrays, write_arrays

TIMEOUT = 30  # seconds without an answer
CHUNK = 2**20  # bytes
LIMIT = 2**28  # bytes of a download; the largest archive, CIFAR-10's, has 170 million
REMEDY = "put it there, or use --sample"

# torchvision itself knows only MD5, for which one can make two files with the same sum.
SHA256 = {
    "MNIST": {
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
    "FashionMNIST": {
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
    "CIFAR10": {"cifar-10-python.tar.gz": "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"},
    "CIFAR100": {"cifar-100-python.tar.gz": "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7"},
}


def download_arrays(folder: Path, torchvision_name: str) -> None:
    """Downloads `torchvision.datasets.<torchvision_name>` and writes its arrays to `folder`, if it is not there.

    Only the arrays are kept, not the archives.

    Raises:
        MissingFileError: the files could not be fetched or written, or are not the official ones.
    """
    _make_once(folder, lambda: write_arrays(folder, _fetch_arrays(torchvision_name, folder)))


def _fetch_arrays(torchvision_name: str, folder: Path) -> ImageArrays:
    import torchvision  # here, because only a first run needs it

    dataset = getattr(torchvision.datasets, torchvision_name)
    archives = folder.with_name(f".{folder.name}.download")  # only one process at a time gets here
    shutil.rmtree(archives, ignore_errors=True)  # left by a process that was killed
    place = archives / torchvision_name / "raw" if hasattr(dataset, "mirrors") else archives
    try:
        place.mkdir(parents=True)
        for name, sha256 in SHA256[torchvision_name].items():
            urls = [mirror + name for mirror in dataset.mirrors] if hasattr(dataset, "mirrors") else [dataset.url]
            _fetch(place / name, urls, sha256, LIMIT)
            _unpack(place / name)
        # torchvision reads what it finds there; CIFAR's files are pickles, which run the code in them.
        train, test = (dataset(archives, train=is_train, download=False) for is_train in (True, False))
        return ImageArrays(
            np.asarray(train.data), np.asarray(train.targets, np.uint8),
            np.asarray(test.data), np.asarray(test.targets, np.uint8),
        )  # fmt: skip
    finally:
        shutil.rmtree(archives, ignore_errors=True)


def _unpack(archive: Path) -> None:
    """Unpacks beside the archive, through tarfile's data filter, which not every torchvision uses.

    Raises:
        InputFileError, tarfile.TarError: something in it would leave that folder, or is no plain file.
    """
    folder = archive.parent
    if archive.suffixes[-2:] != [".tar", ".gz"]:
        with gzip.open(archive) as packed, archive.with_suffix("").open("wb") as file:
            shutil.copyfileobj(packed, file)
        return
    with tarfile.open(archive) as tar:
        if hasattr(tarfile, "data_filter"):
            tar.extractall(folder, filter="data")
            return
        for entry in tar:  # Python before 3.10.12 and 3.11.4, such as Debian 12's
            path = PurePosixPath(entry.name)
            if path.is_absolute() or ".." in path.parts or not (entry.isfile() or entry.isdir()):
                raise InputFileError(f"{archive.name}: {entry.name} is not a plain file in its folder")
        tar.extractall(folder)


def download_file(path: Path, url: str, sha256: str, limit: int = LIMIT, remedy: str = REMEDY) -> None:
    """Downloads a file that is missing, and writes it whole or not at all.

    Args:
        limit: the most bytes it may have.
        remedy: the advice in the message of a failure.

    Raises:
        MissingFileError: it could not be fetched or written, is larger, or another one than `sha256` says.
    """
    _make_once(path, lambda: _fetch(path, [url], sha256, limit), remedy)


def _make_once(target: Path, make: Callable[[], None], remedy: str = REMEDY) -> None:
    """Calls `make`, which downloads `target`, if that is missing; one process at a time.

    Raises:
        MissingFileError: it could not; the message has the reason.
    """
    with reading(target):
        if target.exists():
            return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f".{target.name}.lock")):
            if not target.exists():
                print(f"{target}: not there yet, downloading it ...", flush=True)
                make()
    except (OSError, RuntimeError, HTTPException, tarfile.TarError) as error:  # no network, disk, HTTP, official files
        reason = " ".join(str(error).split())
        raise MissingFileError(f"{target}: not there, and could not be downloaded ({reason}); {remedy}") from error


def _fetch(path: Path, urls: Sequence[str], sha256: str, limit: int) -> None:
    """Writes the file from the first of `urls` that serves it."""
    for url in urls[:-1]:
        with contextlib.suppress(OSError, HTTPException):
            return _copy(url, path, sha256, limit)
    return _copy(urls[-1], path, sha256, limit)


def _copy(url: str, path: Path, sha256: str, limit: int) -> None:
    """Writes what `url` serves, which gets its name once it is whole and checked."""
    unfinished = path.with_name(f".{path.name}.unfinished")
    digest, size = hashlib.sha256(), 0
    try:
        with urlopen(url, timeout=TIMEOUT) as answer, unfinished.open("wb") as file:
            while chunk := answer.read(CHUNK):
                size += len(chunk)
                if size > limit:
                    raise InputFileError(f"{url}: larger than the {limit:,} bytes allowed")
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if (got := digest.hexdigest()) != sha256:
            raise InputFileError(f"{url}: SHA-256 {got} instead of {sha256}")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
