"""Checkpoint files that survive a kill, a full disk and a power cut, and that reveal damage.

A file is written under another name in the same folder, forced to disk, and then renamed, so that its own name never
stands for less than a whole checkpoint. Its last bytes are the SHA-256 of what torch.save wrote: a zip archive may end
in a comment, which torch.save leaves empty. Readers of zip archives skip the comment, so `torch.load(path)` and
`load_from_checkpoint(path)` work as usual.
"""

import contextlib
import errno
import hashlib
import os
import shutil
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from basics.errors import InputError, InputFileError, reading, writing
from basics.files import sync_folder
from harness.runs.layout import PREVIOUS

try:
    import fcntl
except ImportError:  # Windows, where open files cannot be removed anyway
    fcntl = None  # type: ignore[assignment]  # elsewhere a module

MARK = b"sha256:"
COMMENT = len(MARK) + 2 * hashlib.sha256().digest_size
END, END_SIZE = b"PK\5\6", 22  # start of a zip archive's last part, and its size without the comment
EMPTY = b"\0\0"  # the length of an empty comment, the last two of these bytes
UNFINISHED = ".unfinished"
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # of file systems without them, as Lustre may be mounted


class DurableCheckpointIO(TorchCheckpointIO):
    """Reads and writes checkpoints for Lightning, whose strategy lets only rank zero write.

    Args:
        read: the path and the content of a checkpoint that has been read and verified already. Lightning gets this
            content once, instead of reading the file.
    """

    def __init__(self, read: tuple[Path, dict[str, Any]] | None = None) -> None:
        super().__init__()
        self._read = read

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: dict[str, Any] | None = None
    ) -> None:
        with writing(path):
            self._save(checkpoint, Path(path))

    def _save(self, checkpoint: dict[str, Any], path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}.{os.getpid()}{UNFINISHED}")
        try:
            # Unbuffered, so that a full disk is noticed at the write and not when the file is closed.
            with unfinished.open("wb", buffering=0) as file:
                _lock(file)
                _write(checkpoint, file, path)
            _keep_previous(path)
            unfinished.replace(path)
            sync_folder(path.parent)
        finally:
            unfinished.unlink(missing_ok=True)

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        read, self._read = self._read, None
        if read and read[0] == Path(path):
            return read[1]
        verify(Path(path))
        return super().load_checkpoint(path, *args, **kwargs)


def verify(path: Path) -> None:
    """Reads the whole file to check that it is as it was written. A file without a SHA-256, written elsewhere, passes.

    Raises:
        InputError: it is not as it was written.
        InputFileError: it cannot be read.
    """
    with reading(path), path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - END_SIZE - COMMENT))
        tail = file.read()
        end = tail.rfind(END)
        if end < 0 or tail[end + END_SIZE - len(EMPTY) :] == EMPTY:
            return
        file.seek(0)
        digest, left = hashlib.sha256(), size - COMMENT - len(EMPTY)
        while part := file.read(max(0, min(left, 2**20))):
            digest.update(part)
            left -= len(part)
    digest.update(EMPTY)
    if tail[end + END_SIZE - len(EMPTY) :] != _comment(digest):
        raise InputError(f"{path}: damaged; its SHA-256 is not the one that it was written with")


def _comment(digest: Any) -> bytes:
    """An archive's comment, preceded by its length; `digest` is that of the archive without a comment."""
    return COMMENT.to_bytes(2, "little") + MARK + digest.hexdigest().encode()


class _Hashing:
    """A file for torch.save to write to, which hashes and counts what is written.

    If writing fails, it goes on counting, so that the error can say how much room the whole checkpoint takes.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.digest, self.size = file, hashlib.sha256(), 0
        self.failure: OSError | None = None

    def write(self, part: bytes) -> int:
        self.size += len(part)
        if self.failure is None:
            self.digest.update(part)
            self.put(part)
        return len(part)

    def put(self, part: bytes) -> None:
        """Writes to the file without hashing."""
        try:
            left = memoryview(part)
            while left:
                left = left[self.file.write(left) :]
        except OSError as error:
            self.failure = error

    def flush(self) -> None:
        """Does nothing; torch.save calls it."""


def _write(checkpoint: dict[str, Any], file: BinaryIO, path: Path) -> None:
    """Writes the checkpoint with its SHA-256, and forces it to disk; `path` is only used in messages."""
    hashing = _Hashing(file)
    torch.save(checkpoint, cast(IO[bytes], hashing))  # torch calls only the methods that it has
    if hashing.failure is None:
        file.seek(-len(EMPTY), os.SEEK_CUR)
        hashing.put(_comment(hashing.digest))
    try:
        if hashing.failure:
            raise hashing.failure
        os.fsync(file.fileno())
    except OSError as error:
        file.truncate(0)  # frees the room that it took
        raise InputFileError(_refusal(path, error, hashing.size)) from error


def _refusal(path: Path, error: OSError, size: int) -> str:
    before = "; the one before is as it was" if path.exists() else ""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return f"{path}: cannot be written: {os.strerror(error.errno or 0)}{before}"
    free = shutil.disk_usage(path.parent).free
    return f"{path}: no room: a checkpoint takes {size:,} bytes, {free:,} are free{before}"


def _keep_previous(path: Path) -> None:
    """Links the file that is about to be replaced to its second name; the first name always stays."""
    if path.name not in PREVIOUS or not path.exists():
        return
    previous = path.with_name(PREVIOUS[path.name])
    second = path.with_name(f".{previous.name}.{os.getpid()}{UNFINISHED}")
    try:
        second.hardlink_to(path)
    except OSError:  # a file system without hard links
        shutil.copyfile(path, second)
    second.replace(previous)


def remove_unfinished(folder: Path) -> None:
    """Removes what killed processes left unfinished; a process that is still writing holds a lock on its file."""
    for path in folder.glob(f".*.ckpt.*{UNFINISHED}"):
        with contextlib.suppress(OSError), path.open("rb") as file:  # it is locked, or gone by now
            _lock(file)
            path.unlink()


def remove_previous(folder: Path) -> None:
    """Removes the predecessors of the last checkpoints, once a run has ended."""
    for name in PREVIOUS.values():
        (folder / name).unlink(missing_ok=True)


def _lock(file: BinaryIO) -> None:
    """Locks the file until it is closed or its process ends.

    Raises:
        InputFileError: another process has locked it.
    """
    if fcntl:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
