"""Curves from TensorBoard's event files, read quickly and without torch.

TensorBoard's own readers compute the checksum of every record byte by byte in Python, pictures and graphs included,
which takes seconds for a few runs with pictures. Here only records that may hold a wanted scalar are checked.
"""

import struct
from collections.abc import Collection, Iterator
from pathlib import Path

from basics.errors import InputError
from basics.tags import EPOCH_CURVES

LARGEST_SCALAR = 1024  # bytes of a record; pictures and graphs are larger
NO_TAG = 64  # bytes at most of a record that is read without a tag: "again from this step on"


def read_curve(folder: Path, tag: str) -> tuple[list[int], list[float]]:
    """Epochs, the first being 1, and the values of `tag` after them; both empty if the run has logged none.

    Raises:
        InputError: a file is damaged, or no event file.
    """
    points = read_scalars(folder, (tag, *EPOCH_CURVES))
    epoch_at = {step: epoch for curve in EPOCH_CURVES for step, epoch in points[curve].items()}
    steps = sorted(points[tag])
    epochs = [round(epoch_at.get(step, number)) + 1 for number, step in enumerate(steps)]
    return epochs, [points[tag][step] for step in steps]


def read_scalars(folder: Path, tags: Collection[str]) -> dict[str, dict[int, float]]:
    """The values by step of each of the tags, from the event files directly in `folder`.

    What had been logged after the step from which a resumed run continues is dropped. A record that is cut off, as the
    last one of a killed run may be, ends its file.

    Raises:
        InputError: a file is damaged, or no event file.
    """
    from google.protobuf.message import DecodeError
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog

    wanted = [tag.encode() for tag in tags]
    points: dict[str, dict[int, float]] = {tag: {} for tag in tags}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for record, checksum in _small_records(path):
            if len(record) > NO_TAG and not any(tag in record for tag in wanted):
                continue
            _check(record, checksum, path)
            try:
                event = Event.FromString(record)
            except DecodeError as error:
                raise InputError(f"{path}: not an event file") from error
            if event.session_log.status == SessionLog.START:
                points = {tag: {s: v for s, v in of.items() if s < event.step} for tag, of in points.items()}
            for value in event.summary.value:
                if value.tag in points:
                    points[value.tag][event.step] = value.simple_value
    return points


def _small_records(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """Content and checksum of the records that are as small as a scalar's."""
    with path.open("rb") as file:
        while len(header := file.read(12)) == 12:  # the length, and its checksum
            (length,) = struct.unpack_from("<Q", header)
            if length > LARGEST_SCALAR:
                _check(header[:8], header[8:], path)
                file.seek(length + 4, 1)
                continue
            record = file.read(length + 4)
            if len(record) < length + 4:
                return
            yield record[:-4], record[-4:]


def _check(content: bytes, checksum: bytes, path: Path) -> None:
    from tensorboard.summary.writer.record_writer import masked_crc32c

    if struct.pack("<I", masked_crc32c(content)) != checksum:
        raise InputError(f"{path}: damaged, or no event file")
