"""Image sets as pickled numpy arrays, such as the `mnist.pkl.gz` of older tutorials, read without running anything.

A pickle is a program that may call any function of any module that Python can import. Here it may only ask for
numpy's array and dtype, and gets stand-ins that keep bytes, shape and type. Numpy's own could be given a made-up state,
and read beyond its memory.
"""

import gzip
import pickle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from basics.errors import InputError, MissingFileError, reading

LIMIT = 2**29  # bytes, unpacked; MNIST as float64 has 440 million
SPLITS = ("train", "valid", "test")
PIXELS = (784,)  # 28 x 28
TYPES = ("f4", "f8", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8")


class _NotArraysError(Exception):
    """Names what a pickle holds besides arrays of numbers."""


class Split(NamedTuple):
    """Images as rows of pixels and their labels."""

    rows: np.ndarray  # float32 in 0..1, (N, 784)
    labels: np.ndarray  # int64, (N,)


class _Dtype:
    """Stands in for numpy.dtype."""

    def __init__(self, name: str, *copy: bool) -> None:
        if name not in TYPES:
            raise _NotArraysError(f"has an array of type {name!r}; only numbers are read")
        self.name = name

    def __setstate__(self, state: tuple) -> None:
        self.name = (">" if state[1] == ">" else "<") + self.name  # "|" is for single bytes, which have no order


class _Array:
    """Stands in for numpy.ndarray."""

    def __setstate__(self, state: tuple) -> None:
        _version, shape, dtype, by_columns, content = state
        content = content.encode("latin1") if isinstance(content, str) else content
        self.values = np.frombuffer(content, dtype.name).reshape(shape, order="F" if by_columns else "C")


def _reconstruct(kind: type, shape: tuple, code: bytes) -> _Array:
    return _Array()


def _frombuffer(content: bytes, dtype: _Dtype, shape: tuple, order: str) -> _Array:
    array = _Array()
    array.__setstate__((1, shape, dtype, order == "F", content))
    return array


def _encode(text: str, encoding: str) -> bytes:
    return text.encode("latin1")  # how bytes are written for Python 2


# By module and name; numpy.core became numpy._core in numpy 2.
ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.numeric", "_frombuffer"): _frombuffer,  # since pickle's protocol 5
    ("numpy._core.numeric", "_frombuffer"): _frombuffer,
    ("_codecs", "encode"): _encode,
}


class _Limited:
    """A file of which at most `LIMIT` bytes are read: a few kilobytes of gzip may unpack to any size."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self.file, self.left = file, LIMIT

    def read(self, size: int) -> bytes:
        return self._counted(self.file.read(min(size, self.left + 1)))

    def readline(self) -> bytes:
        return self._counted(self.file.readline(self.left + 1))

    def _counted(self, content: bytes) -> bytes:
        self.left -= len(content)
        if self.left < 0:
            raise _NotArraysError(f"unpacks to more than {LIMIT:,} bytes")
        return content


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise _NotArraysError(f"asks for {module}.{name}; only numpy arrays are read, nothing is run")
        return ALLOWED[module, name]


def read_pickled_splits(path: Path) -> dict[str, Split]:
    """Reads ((rows, labels) of train, of valid, of test), pickled and compressed by gzip.

    Raises:
        MissingFileError: there is no such file.
        InputError: it is cut off, asks for anything but arrays, or has wrong types or shapes. The message names it.
    """
    with reading(path):
        if not path.is_file():
            raise MissingFileError(f"{path}: no such file")
    try:
        with gzip.open(path) as file:
            content = _ArrayUnpickler(_Limited(file), encoding="latin1").load()  # Python 2's text may hold bytes
    except _NotArraysError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:  # a damaged pickle raises errors of any kind
        reason = str(error) or type(error).__name__
        raise InputError(f"{path}: cut off, damaged or no pickle compressed by gzip ({reason})") from error
    if not isinstance(content, tuple | list) or [_is_pair(part) for part in content] != [True] * 3:
        raise InputError(f"{path}: need three pairs of arrays, (images, labels) of train, valid and test")
    return {name: _checked(f"{path}, {name}", *pair) for name, pair in zip(SPLITS, content, strict=True)}


def _is_pair(part: Any) -> bool:
    if not isinstance(part, tuple | list) or len(part) != 2:
        return False
    return all(isinstance(array, _Array) and hasattr(array, "values") for array in part)


def _checked(source: str, images: _Array, labels: _Array) -> Split:
    rows, classes = images.values, labels.values
    if rows.dtype.kind != "f" or rows.shape[1:] != PIXELS:
        raise InputError(f"{source}: need images as floats, (N, 784), got {rows.dtype} {rows.shape}")
    if classes.dtype.kind not in "iu" or classes.shape != (len(rows),):
        raise InputError(f"{source}: need {len(rows)} whole numbers as labels, got {classes.dtype} {classes.shape}")
    if not len(rows):
        raise InputError(f"{source}: no images")
    if not (rows.min() >= 0 and rows.max() <= 1):  # false if one is not a number
        raise InputError(f"{source}: need pixels from 0 to 1, got {rows.min():g} to {rows.max():g}")
    return Split(rows.astype(np.float32), classes.astype(np.int64))
