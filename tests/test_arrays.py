"""Arrays on disk: read back unchanged, checked, and written whole or not at all."""

import re
from pathlib import Path

import numpy as np
import pytest

from datamodules.arrays import ImageArrays, read_arrays, write_arrays

NAMES = ["train_images.npy", "train_labels.npy", "test_images.npy", "test_labels.npy"]


def tiny(shape=(28, 28)):
    rng = np.random.default_rng(0)
    images = [rng.integers(256, size=(count, *shape), dtype=np.uint8) for count in (5, 3)]
    return ImageArrays(images[0], np.arange(5, dtype=np.uint8), images[1], np.arange(3, dtype=np.uint8))


def snapshot(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("shape", [(28, 28), (32, 32, 3)])
def test_read_gives_the_bytes_written(tmp_path, shape):
    arrays = tiny(shape)
    write_arrays(tmp_path / "new" / "mnist", arrays)
    read = read_arrays(tmp_path / "new" / "mnist", shape, num_classes=5)
    assert [array.tobytes() for array in read] == [array.tobytes() for array in arrays]
    assert [array.shape for array in read] == [(5, *shape), (5,), (3, *shape), (3,)]


def test_files_are_plain_arrays_that_others_may_read(tmp_path):
    images = tiny((3, 32, 32)).train_images.transpose(0, 2, 3, 1)  # as torchvision hands out CIFAR-10
    write_arrays(tmp_path / "cifar10", tiny((32, 32, 3))._replace(train_images=images))
    assert sorted(snapshot(tmp_path / "cifar10")) == sorted(NAMES)
    assert (tmp_path / "cifar10" / "train_images.npy").read_bytes()[128:] == images.tobytes()  # 128 bytes of header
    assert (tmp_path / "cifar10").stat().st_mode & 0o777 == 0o755


def test_changing_a_read_array_leaves_its_file(tmp_path):
    write_arrays(tmp_path / "mnist", tiny())
    before = snapshot(tmp_path / "mnist")
    for array in read_arrays(tmp_path / "mnist", (28, 28), num_classes=10):
        array[:] = 7
        array.flush()
    assert snapshot(tmp_path / "mnist") == before


def save(array):
    return lambda path: np.save(path, array)


def cut(size):
    return lambda path: path.write_bytes(path.read_bytes()[:size])


def save_archive(path):
    with path.open("wb") as file:
        np.savez(file, np.zeros((5, 28, 28), np.uint8))


def damage_header(path):
    header = bytearray(path.read_bytes())
    header[8] ^= 1 << 6  # its length, which becomes 64 bytes more or less
    path.write_bytes(header)


BAD = {
    "missing": ("test_labels.npy", Path.unlink, "missing"),
    "one byte short": ("train_images.npy", cut(-1), "not a readable array"),
    "cut in its header": ("test_images.npy", cut(60), "not a readable array"),
    "empty": ("train_labels.npy", cut(0), "not a readable array"),
    "text": ("train_images.npy", lambda path: path.write_text("0,1,2\n"), "not a readable array"),
    "float images": (
        "train_images.npy",
        save(np.zeros((5, 28, 28), np.float32)),
        "need uint8 (N, 28, 28), got float32",
    ),
    "int64 labels": ("test_labels.npy", save(np.zeros(3, np.int64)), "need uint8 or uint16 (N,), got int64"),
    "28 x 27": ("test_images.npy", save(np.zeros((3, 28, 27), np.uint8)), "got uint8 (3, 28, 27)"),
    "flat images": ("train_images.npy", save(np.zeros((5, 784), np.uint8)), "got uint8 (5, 784)"),
    "one-hot labels": ("train_labels.npy", save(np.zeros((5, 10), np.uint8)), "got uint8 (5, 10)"),
    "a single number": ("train_labels.npy", save(np.uint8(1)), "got uint8 ()"),
    "one label too many": ("test_labels.npy", save(np.zeros(4, np.uint8)), "4 labels for 3 images"),
    "label too large": ("train_labels.npy", save(np.array([0, 9, 9, 10, 3], np.uint8)), "label 10 in row 3"),
}


@pytest.mark.parametrize(("name", "spoil", "message"), BAD.values(), ids=BAD.keys())
def test_bad_file_is_refused_by_name(tmp_path, name, spoil, message):
    write_arrays(tmp_path / "mnist", tiny())
    spoil(tmp_path / "mnist" / name)
    error = FileNotFoundError if message == "missing" else ValueError
    with pytest.raises(error, match=f"mnist/{name}: .*{re.escape(message)}"):
        read_arrays(tmp_path / "mnist", (28, 28), num_classes=10)


@pytest.mark.parametrize("spoil", [save_archive, damage_header])
def test_archive_or_damaged_header_is_refused_by_name(tmp_path, spoil):
    write_arrays(tmp_path / "mnist", tiny())
    spoil(tmp_path / "mnist" / "train_images.npy")
    with pytest.raises(ValueError, match=r"mnist/train_images.npy: "):
        read_arrays(tmp_path / "mnist", (28, 28), num_classes=10)


def test_grey_images_are_no_rgb_images(tmp_path):
    write_arrays(tmp_path / "cifar10", tiny((32, 32)))
    with pytest.raises(
        ValueError, match=re.escape("train_images.npy: need uint8 (N, 32, 32, 3), got uint8 (5, 32, 32)")
    ):
        read_arrays(tmp_path / "cifar10", (32, 32, 3), num_classes=10)


def test_set_without_images_is_refused(tmp_path):
    none = {"test_images": np.zeros((0, 28, 28), np.uint8), "test_labels": np.zeros(0, np.uint8)}
    write_arrays(tmp_path / "mnist", tiny()._replace(**none))
    with pytest.raises(ValueError, match=r"mnist/test_images.npy: no images"):
        read_arrays(tmp_path / "mnist", (28, 28), num_classes=10)


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_pickle_is_refused_and_not_executed(tmp_path):
    write_arrays(tmp_path / "mnist", tiny())
    bomb = np.array([Bomb(tmp_path / "exploded")], dtype=object)
    np.save(tmp_path / "mnist" / "train_images.npy", bomb)
    with pytest.raises(ValueError, match=r"mnist/train_images.npy: not a readable array"):
        read_arrays(tmp_path / "mnist", (28, 28), num_classes=10)
    assert not (tmp_path / "exploded").exists()
    np.load(tmp_path / "mnist" / "train_images.npy", allow_pickle=True)
    assert (tmp_path / "exploded").exists()  # the bomb was live


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=repr)
def test_interrupted_write_leaves_nothing(tmp_path, monkeypatch, error):
    written, np_save = [], np.save

    def fail_third(file, array):
        if len(written) == 2:
            raise error
        written.append(array)
        np_save(file, array)

    monkeypatch.setattr(np, "save", fail_third)
    with pytest.raises(type(error)):
        write_arrays(tmp_path / "mnist", tiny())
    assert len(written) == 2
    assert list(tmp_path.iterdir()) == []


def test_write_leaves_a_folder_that_holds_something(tmp_path):
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "notes.txt").write_text("mine")
    with pytest.raises(OSError, match="mnist"):
        write_arrays(tmp_path / "mnist", tiny())
    assert snapshot(tmp_path / "mnist") == {"notes.txt": b"mine"}
    assert [path.name for path in tmp_path.iterdir()] == ["mnist"]
