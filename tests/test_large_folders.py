"""Folders of images that are larger than memory: what is decoded is not kept, and what is read is mapped."""

import resource
import subprocess
import sys

import numpy as np
import pytest
import torch
from photos import colours, photos, ready, save, text
from PIL import Image

from datamodules.arrays import image_file, read_arrays
from datamodules.batches import Images, host_memory
from datamodules.images import channel_mean_std
from datamodules.open_image import ROOM, Room, open_upright

SIDE = 1024
MEASURE = """
import sys
from resource import RUSAGE_SELF, getrusage
from datamodules import ImageFolder
data = ImageFolder(sys.argv[1], image_size=int(sys.argv[2]))
before = getrusage(RUSAGE_SELF).ru_maxrss
data.prepare_data()
data.setup()
print(before, getrusage(RUSAGE_SELF).ru_maxrss, data.arrays.train_images.nbytes)
"""


@pytest.mark.slow
def test_decoding_takes_little_memory_whatever_the_folder_holds(tmp_path):
    """1.2 GB of arrays."""
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    for number in range(400):
        noise[0, 0] = number % 256, number // 256, 0
        path = tmp_path / "train" / f"{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise).save(path)
    command = [sys.executable, "-c", MEASURE, str(tmp_path), str(SIDE)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    before, after, array = map(int, said.split())
    unit = 1 if sys.platform == "darwin" else 1024  # bytes of ru_maxrss
    assert array > 1e9
    assert (after - before) * unit < 2.5e8  # some images of 3 MB for each core, and a part for the statistics


def test_array_larger_than_memory_is_mapped_and_gives_batches(tmp_path):
    """The file is sparse: it takes no room on the disk."""
    rows = int(1.5 * host_memory() / SIDE**2 / 3)
    with image_file(tmp_path / "train_images.npy", (SIDE, SIDE, 3)):
        pass
    header = (tmp_path / "train_images.npy").read_bytes()
    with (tmp_path / "train_images.npy").open("wb") as file:
        file.write(header.replace(b"(0,", f"({rows},".encode()).replace(b" " * (len(str(rows)) - 1) + b"\n", b"\n"))
        file.truncate(file.tell() + rows * SIDE**2 * 3)
    np.save(tmp_path / "train_labels.npy", np.zeros(rows, np.uint8))
    np.save(tmp_path / "test_images.npy", np.zeros((1, SIDE, SIDE, 3), np.uint8))
    np.save(tmp_path / "test_labels.npy", np.zeros(1, np.uint8))
    arrays = read_arrays(tmp_path, (SIDE, SIDE, 3), 2)
    assert arrays.train_images.nbytes > host_memory()
    data = Images(arrays.train_images, arrays.train_labels, torch.device("cpu"))
    images, labels = data.take(data.labels[-2:] + rows - 1)
    assert images.shape == (2, 3, SIDE, SIDE) and not images.any()
    assert labels.tolist() == [0, 0]
    assert channel_mean_std(arrays.train_images, np.array([0, rows - 1])) == ([0.0] * 3, [0.0] * 3)


def test_mean_and_std_by_parts_are_numpys(monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (50, 6, 7, 3), dtype=np.uint8)
    rows = np.arange(0, 50, 3)
    monkeypatch.setattr("datamodules.images.AT_ONCE", 6 * 7 * 3 * 4)  # four images
    mean, std = channel_mean_std(images, rows)
    np.testing.assert_allclose(mean, images[rows].mean((0, 1, 2)) / 255)
    np.testing.assert_allclose(std, images[rows].std((0, 1, 2)) / 255)


def test_test_set_is_chosen_anew_without_its_files_that_cannot_be_read(tmp_path):
    """As if they had never been there, whichever they are."""
    photos(tmp_path / "a", ant=20, bee=20)
    chosen = colours(ready(tmp_path / "a").arrays.test_images)
    for label, number, _ in chosen:
        text(tmp_path / "a" / "train" / ("bee" if label else "ant") / f"{number}.png")
    spoilt = ready(tmp_path / "a", skip_bad=True)
    photos(tmp_path / "b", ant=20, bee=20)
    for label, number, _ in chosen:
        (tmp_path / "b" / "train" / ("bee" if label else "ant") / f"{number}.png").unlink()
    clean = ready(tmp_path / "b")
    assert all(np.array_equal(*pair) for pair in zip(spoilt.arrays, clean.arrays, strict=True))


def test_full_disk_is_no_fault_of_an_image(tmp_path):
    photos(tmp_path, ant=5, bee=5)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # bytes that a file may have
    try:
        with pytest.raises(OSError, match=r"the decoded images cannot be kept there"):
            ready(tmp_path, skip_bad=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(tmp_path.glob(".arrays/*16px*"))


def test_large_images_are_decoded_one_after_the_other():
    room, held = Room(10), []
    with room.of(4), room.of(6):
        assert room.left == 0
    with room.of(99):  # more than there is: alone
        held.append(room.left)
    assert held == [0] and room.left == 10
    assert ROOM.left == ROOM.whole


def test_large_images_of_other_kinds_than_jpeg_are_averaged_first(tmp_path):
    save(tmp_path / "a.png", (10, 20, 30), size=(640, 480))
    opened, change = open_upright(tmp_path / "a.png", 100)
    assert opened.size == (160, 120) and change.size == (640, 480)
    assert opened.getpixel((80, 60)) == (10, 20, 30)
