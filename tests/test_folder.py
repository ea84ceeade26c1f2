"""A user's own images: classes, splits, and the arrays that are kept for them."""

import gc
import os
import re
import sys
import threading
from collections import Counter
from io import StringIO

import numpy as np
import pytest
from photos import colours, photos, ready, save, snapshot

from basics.errors import InputError
from datamodules import ImageFolder, unpack
from datamodules.arrays import read_arrays
from datamodules.decode import decode_files, decoded
from datamodules.listing import list_images


def test_classes_are_sorted_and_files_found_in_folders_and_behind_links(tmp_path):
    for name in ("b/1.png", "b/deep/er/2.png", "B/3.png", "a c/4.png"):
        save(tmp_path / "train" / name)
    save(tmp_path / "elsewhere" / "5.png")
    (tmp_path / "train" / "a c" / "link.png").symlink_to(tmp_path / "elsewhere" / "5.png")
    (tmp_path / "train" / "B" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "train" / "b" / "deep" / "circle").symlink_to(tmp_path / "train" / "b")
    for hidden in ("b/.6.png", "b/Thumbs.db", "b/.git/7.png", ".ipynb_checkpoints/8.png", "desktop.ini"):
        (tmp_path / "train" / hidden).parent.mkdir(exist_ok=True)
        (tmp_path / "train" / hidden).write_text("")
    listing = list_images(tmp_path)
    assert listing.classes == ("B", "a c", "b")
    found = {file.removeprefix("train/"): listing.classes[label] for file, label in listing.files.items()}
    assert found == {
        "b/1.png": "b", "b/deep/er/2.png": "b", "B/3.png": "B", "B/linked/5.png": "B",
        "a c/4.png": "a c", "a c/link.png": "a c",
    }  # fmt: skip
    assert not listing.stray
    assert listing.unread == ["elsewhere"]


def test_every_image_lands_in_one_split_with_its_label(tmp_path):
    data = ready(photos(tmp_path, ant=12, bee=30, cat=1), val_size=5)
    labels = [
        label for loader in (data.val_dataloader(), data.test_dataloader()) for _, y in loader for label in y.tolist()
    ]
    assert len(labels) == 5 + 1 + 3  # of twelve and thirty a tenth each; of the single one none
    images = np.concatenate([data.arrays.train_images, data.arrays.test_images])
    labels = np.concatenate([data.arrays.train_labels, data.arrays.test_labels])
    assert sorted(labels.tolist()) == [0] * 12 + [1] * 30 + [2]
    assert colours(images) == Counter(
        (60 * label, number, 255 - number) for label, count in enumerate((12, 30, 1)) for number in range(count)
    )
    assert (images[:, 0, 0, 0] == 60 * labels).all()
    assert data.input_shape == (3, 16, 16)


def test_held_out_test_images_do_not_hang_on_the_seed_and_stay_as_others_come(tmp_path):
    photos(tmp_path, ant=50, bee=50)
    before, other = (ready(tmp_path, seed=seed) for seed in (0, 1))
    assert before.val_indices.tolist() != other.val_indices.tolist()
    assert colours(before.arrays.test_images) == colours(other.arrays.test_images)
    save(tmp_path / "train" / "ant" / "new.png")
    after = ready(tmp_path)
    assert len(before.arrays.test_images) == len(after.arrays.test_images) == 10
    assert (colours(before.arrays.test_images) & colours(after.arrays.test_images)).total() >= 9


@pytest.mark.parametrize("name", ["val", "validation", "valid"])
def test_folders_of_their_own_are_the_validation_and_test_images(tmp_path, name):
    photos(tmp_path, ant=3, bee=4, cat=3)
    for number in range(4):
        save(tmp_path / name / "bee" / f"{number}.png", (1, 2, number))
    save(tmp_path / "test" / "cat" / "0.png", (3, 4, 5))
    save(tmp_path / "test" / "ant" / "0.png", (6, 7, 8))
    data = ready(tmp_path, val_size=5)
    (val, val_labels), (test, test_labels) = next(iter(data.val_dataloader())), next(iter(data.test_dataloader()))
    assert (val[:, :, 0, 0] * 255).round().tolist() == [[1, 2, number] for number in range(4)]
    assert (test[:, :, 0, 0] * 255).round().tolist() == [[6, 7, 8], [3, 4, 5]]
    assert (val_labels.tolist(), test_labels.tolist()) == ([1, 1, 1, 1], [0, 2])
    assert np.bincount(data.arrays.train_labels[data.train_indices]).tolist() == [3, 4, 3]
    assert data.describe().splitlines() == [
        "10 training, 4 validation and 2 test images of 16 x 16 x 3",
        "3 classes of 3 (ant) to 4 (bee) training images",
        f"the validation images are those of {tmp_path / name}; --val_size has no effect",
    ]


def test_two_folders_of_validation_images_are_refused(tmp_path):
    photos(tmp_path, ant=3, bee=4)
    for name in ("val", "valid"):
        save(tmp_path / name / "ant" / "0.png")
    with pytest.raises(InputError, match=r"val/ and valid/ would both be val/; leave one of them"):
        ImageFolder(str(tmp_path)).prepare_data()


def test_description_says_what_was_held_out_and_not_read(tmp_path):
    photos(tmp_path, ant=12, bee=12)
    save(tmp_path / "more" / "ant" / "0.png")
    assert ready(tmp_path).describe().splitlines() == [
        "20 training, 2 validation and 2 test images of 16 x 16 x 3",
        *ready(tmp_path).describe().splitlines()[1:2],
        f"there is no {tmp_path / 'test'}: a tenth of train/ is the test set, the same for every seed",
        "not read, being neither train/ nor val/ nor test/: more",
    ]


def test_more_classes_than_a_byte_counts(tmp_path):
    save(tmp_path / "one.png", size=(16, 16))
    for number in range(258):
        folder = tmp_path / "train" / f"{number:03}"
        folder.mkdir(parents=True)
        for name in ("a.png", "b.png"):
            (folder / name).hardlink_to(tmp_path / "one.png")
    save(tmp_path / "val" / "257" / "0.png")
    data = ready(tmp_path)
    assert data.arrays.train_labels.tolist() == [*range(258), 257]
    assert next(iter(data.val_dataloader()))[1].tolist() == [257]


# What is kept.


@pytest.fixture
def decodings(monkeypatch):
    """The number of files of each decoding."""
    counts = []

    def counted(paths, square):
        counts.append(len(paths))
        return decoded(paths, square)

    monkeypatch.setattr(unpack, "decoded", counted)
    return counts


def test_unchanged_folder_is_decoded_once_and_a_changed_one_again(tmp_path, decodings):
    photos(tmp_path, ant=5, bee=5)
    first, second = ready(tmp_path), ready(tmp_path)
    assert decodings == [10]
    assert all(np.array_equal(*pair) for pair in zip(first.arrays, second.arrays, strict=True))
    save(tmp_path / "train" / "ant" / "0.png", (9, 9, 9))
    changed = ready(tmp_path)
    assert colours(np.concatenate([changed.arrays.train_images, changed.arrays.test_images]))[9, 9, 9] == 1
    (tmp_path / "train" / "ant" / "1.png").rename(tmp_path / "train" / "bee" / "new.png")
    ready(tmp_path)
    assert decodings == [10, 10, 10]


def test_every_size_has_arrays_of_its_own(tmp_path, decodings):
    photos(tmp_path, ant=5, bee=5)
    for size in (16, 20, 16):
        assert ready(tmp_path, image_size=size).input_shape == (3, size, size)
        gc.collect()
    assert decodings == [10, 10, 10]  # the others were not in use any more


def test_several_at_once_decode_once(tmp_path, decodings):
    photos(tmp_path, ant=20, bee=20)
    threads = [threading.Thread(target=ready, args=[tmp_path]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert decodings == [40]
    (arrays,) = (tmp_path / ".arrays").glob("16px-*")
    assert len(read_arrays(arrays, (16, 16, 3), 2).train_images) == 36


def test_arrays_of_a_read_only_folder_are_kept_in_the_users_cache(tmp_path, decodings, monkeypatch, capsys):
    photos(tmp_path / "photos", ant=5, bee=5)
    before = snapshot(tmp_path / "photos")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # for root every folder is writable
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for _ in range(2):
        data = ready(tmp_path / "photos")
    assert decodings == [10]
    assert data.folder.parent.parent == tmp_path / "cache" / "own_images"
    assert f"kept in {data.folder}" in capsys.readouterr().out
    assert snapshot(tmp_path / "photos") == before


def test_place_that_takes_no_arrays_is_named(tmp_path):
    photos(tmp_path, ant=5, bee=5)
    (tmp_path / ".arrays").write_text("the user's")
    with pytest.raises(OSError, match=r"\.arrays/16px-.*: the decoded images cannot be kept there"):
        ready(tmp_path)
    assert (tmp_path / ".arrays").read_text() == "the user's"


def test_bar_is_drawn_on_a_terminal_only(tmp_path, monkeypatch):
    class Terminal(StringIO):
        def isatty(self):
            return True

    save(tmp_path / "a.png")
    for stream, draws in ((Terminal(), True), (StringIO(), False)):
        monkeypatch.setattr(sys, "stderr", stream)
        decode_files([tmp_path / "a.png"], 16)
        assert ("decoding" in stream.getvalue()) == draws
        assert draws or not stream.getvalue()


def test_without_validation_the_images_of_val_are_for_training(tmp_path):
    photos(tmp_path, ant=3, bee=4)
    save(tmp_path / "val" / "bee" / "0.png", (1, 2, 3))
    save(tmp_path / "test" / "ant" / "0.png", (6, 7, 8))
    data = ready(tmp_path, val_size=0)
    assert (len(data.train_indices), len(data.val_indices)) == (8, 0)
    assert data.describe().splitlines()[2:] == [f"val_size 0: the images of {tmp_path / 'val'} are training images too"]


def test_bar_has_no_colour_where_none_is_wanted(tmp_path, monkeypatch):
    class Terminal(StringIO):
        def isatty(self):
            return True

    save(tmp_path / "a.png")
    monkeypatch.setenv("TERM", "xterm-256color")
    colour = re.compile(r"\x1b\[(?:[\d;]*;)?(?:3[0-8]|9[0-7])[\d;]*m")
    for wish, coloured in ((None, True), ("1", False)):
        monkeypatch.setattr(sys, "stderr", stream := Terminal())
        monkeypatch.delenv("NO_COLOR", raising=False)
        if wish:
            monkeypatch.setenv("NO_COLOR", wish)
        decode_files([tmp_path / "a.png"], 16)
        assert bool(colour.search(stream.getvalue())) == coloured
