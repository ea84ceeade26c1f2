"""A user's own images: what each kind of file decodes to, splits, what is kept, and one line for each mistake."""

import json
import os
import struct
import sys
import threading
import zlib
from collections import Counter
from io import StringIO

from command_line import cli

import numpy as np
import own_images
import pytest
from PIL import Image

from datamodules import ImageFolder, decode
from datamodules.arrays import read_arrays
from datamodules.decode import decode_files
from datamodules.listing import list_images

COLOUR = (200, 100, 40)
GREY = (120, 120, 120)


def save(path, colour=COLOUR, size=(24, 24), mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)


def photos(root, **classes):
    """A train/ with that many images in each class; no two are of the same colour."""
    for label, (name, count) in enumerate(classes.items()):
        for number in range(count):
            save(root / "train" / name / f"{number}.png", (60 * label, number, 255 - number))
    return root


def ready(root, **options):
    data = ImageFolder(str(root), **{"image_size": 16, **options})
    data.prepare_data()
    data.setup()
    return data


def colours(images):
    """The colours of plain images, (N, S, S, 3), each once for each image."""
    assert (images == images[:, :1, :1]).all()
    return Counter(map(tuple, images[:, 0, 0].tolist()))


# Files of one colour, in every way a file can say it.


def save_16_bit_rgb(path):
    """PNG as its specification has it, since Pillow writes no 16-bit colour: 257 v is v on the wider scale."""
    row = b"\0" + struct.pack(">3H", *(257 * value for value in COLOUR)) * 24
    parts = [
        (b"IHDR", struct.pack(">2I5B", 24, 24, 16, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(row * 24)),
        (b"IEND", b""),
    ]
    chunks = [struct.pack(">I", len(c)) + name + c + struct.pack(">I", zlib.crc32(name + c)) for name, c in parts]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


def save_palette(path, **options):
    image = Image.new("P", (24, 24), 1)
    image.putpalette([0, 0, 0, *COLOUR])
    image.save(path, **options)


def save_animation(path):
    frames = [Image.new("RGB", (24, 24), colour) for colour in (COLOUR, (0, 0, 0), (255, 255, 255))]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def on_white(value, alpha):
    return round((value * alpha + 255 * (255 - alpha)) / 255)


KINDS = {
    "jpeg": ("a.jpg", lambda path: save(path, quality=95), COLOUR, None),
    "png": ("a.png", save, COLOUR, None),
    "bmp under another name": ("a.jpg", lambda path: save(path, format="BMP"), COLOUR, None),
    "webp": ("a.webp", lambda path: save(path, lossless=True), COLOUR, None),
    "capital letters": ("A.JPEG", lambda path: save(path, quality=95), COLOUR, None),
    "grey jpeg": ("a.jpg", lambda path: save(path, 120, mode="L", quality=95), GREY, "grey"),
    "black and white": ("a.png", lambda path: save(path, 1, mode="1"), (255, 255, 255), "black-and-white"),
    "cmyk jpeg": ("a.jpg", lambda path: save(path, (55, 155, 215, 0), mode="CMYK", quality=95), COLOUR, "CMYK"),
    "cmyk tiff": ("a.tif", lambda path: save(path, (55, 155, 215, 0), mode="CMYK"), COLOUR, "CMYK"),
    "palette": ("a.png", save_palette, COLOUR, "palette"),
    "palette with a clear colour": (
        "a.png", lambda path: save_palette(path, transparency=1), (255, 255, 255), "transparent",
    ),
    "half transparent": (
        "a.png", lambda path: save(path, (*COLOUR, 128), mode="RGBA"),
        tuple(on_white(value, 128) for value in COLOUR), "transparent",
    ),
    "opaque with alpha": ("a.png", lambda path: save(path, (*COLOUR, 255), mode="RGBA"), COLOUR, "transparent"),
    "half transparent grey": (
        "a.png", lambda path: save(path, (120, 51), mode="LA"), (on_white(120, 51),) * 3, "transparent",
    ),
    "16-bit png": ("a.png", lambda path: save(path, 120 * 257, mode="I;16"), GREY, "16-bit"),
    "16-bit tiff": ("a.tif", lambda path: save(path, 120 * 257, mode="I;16"), GREY, "16-bit"),
    "16-bit pgm": ("a.pgm", lambda path: save(path, 120 * 257, mode="I"), GREY, "16-bit"),
    "16-bit colour": ("a.png", save_16_bit_rgb, COLOUR, "16-bit"),
    "animation": ("a.webp", save_animation, COLOUR, None),
    "animated gif": ("a.gif", save_animation, COLOUR, "palette"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_plain_image_of_every_kind_decodes_to_its_colour(tmp_path, kind):
    name, write, colour, conversion = KINDS[kind]
    write(tmp_path / name)
    images, bad, notes = decode_files([tmp_path / name], 16)
    assert not bad
    assert images.shape == (1, 16, 16, 3)
    assert abs(images.astype(int) - colour).max() <= (3 if name.endswith(("jpg", "JPEG", "webp")) else 0)
    said = [f"converted to 8-bit RGB: 1 {conversion}"] if conversion else []
    assert [note.partition(";")[0] for note in notes] == [*said, "resized to 16 x 16: 1, from 24 x 24"]


def test_16_bits_are_scaled_and_rounded(tmp_path):
    values = np.linspace(0, 65_535, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(values).save(tmp_path / "a.png")
    images, _, notes = decode_files([tmp_path / "a.png"], 16)
    assert np.array_equal(images[0], np.rint(values / 257).astype(np.uint8)[..., None].repeat(3, axis=2))
    assert notes == ["converted to 8-bit RGB: 1 16-bit"]


# Where the picture's top left corner, first along the stored rows, lies: the side of row 0 and of column 0 (EXIF 2.3).
ORIENTATIONS = {
    1: "top left", 2: "top right", 3: "bottom right", 4: "bottom left",
    5: "left top", 6: "right top", 7: "right bottom", 8: "left bottom",
}  # fmt: skip


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_image_is_turned_upright(tmp_path, orientation):
    upright = np.random.default_rng(0).integers(256, size=(16, 16, 3), dtype=np.uint8)
    row, column = ORIENTATIONS[orientation].split()
    stored = upright[::-1] if "bottom" in (row, column) else upright
    stored = stored[:, ::-1] if "right" in (row, column) else stored
    stored = stored.swapaxes(0, 1) if row in ("left", "right") else stored
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(decode_files([tmp_path / "a.png"], 16).images[0], upright)


@pytest.mark.parametrize("scale", [1, 4])
def test_middle_square_is_kept(tmp_path, scale):
    stripes = np.repeat([0, 90, 180, 255], 8 * scale)  # a picture twice as wide as high; the middle is 90 and 180
    picture = np.broadcast_to(stripes[None, :, None], (16 * scale, 32 * scale, 3)).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "wide.png")
    Image.fromarray(picture.swapaxes(0, 1)).save(tmp_path / "tall.png")
    (wide, tall), _, notes = decode_files([tmp_path / "wide.png", tmp_path / "tall.png"], 16)
    assert np.array_equal(wide, tall.swapaxes(0, 1))
    inner = wide[:, 2:-2]  # what lies beyond the edge, and between the two, may shine through
    assert (inner[:, :4] == 90).all()
    assert (inner[:, -4:] == 180).all()
    low, high = 16 * scale, 32 * scale
    sizes = f"sizes between {low} x {high} and {high} x {low}"
    assert notes == [f"resized to 16 x 16: 2, from {sizes}; of those that are not square, the middle"]


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_shrinking_averages(tmp_path, name):
    checks = (np.indices((256, 256)).sum(0) % 2 * 255).astype(np.uint8)  # single pixels, which on average are grey
    Image.fromarray(checks).convert("RGB").save(tmp_path / name, quality=100)
    images = decode_files([tmp_path / name], 16).images
    assert abs(images.astype(float) - 127.5).max() <= 4


def test_sizes_and_conversions_are_counted(tmp_path):
    save(tmp_path / "0.png", size=(16, 16))
    save(tmp_path / "1.png", size=(10, 20))
    save(tmp_path / "2.png", (*COLOUR, 9), size=(300, 200), mode="RGBA")
    save(tmp_path / "3.png", 7, size=(40, 40), mode="L")
    save(tmp_path / "4.png", 7, size=(16, 16), mode="L")
    notes = decode_files(sorted(tmp_path.iterdir()), 16).notes
    assert notes == [
        "converted to 8-bit RGB: 2 grey, 1 transparent; what is transparent is put on white",
        "resized to 16 x 16: 3, from sizes between 10 x 20 and 300 x 200; of those that are not square, the middle",
    ]


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


def test_folders_of_their_own_are_the_validation_and_test_images(tmp_path):
    photos(tmp_path, ant=3, bee=4, cat=3)
    for number in range(4):
        save(tmp_path / "val" / "bee" / f"{number}.png", (1, 2, number))
    save(tmp_path / "test" / "cat" / "0.png", (3, 4, 5))
    save(tmp_path / "test" / "ant" / "0.png", (6, 7, 8))
    data = ready(tmp_path, val_size=0)
    (val, val_labels), (test, test_labels) = next(iter(data.val_dataloader())), next(iter(data.test_dataloader()))
    assert (val[:, :, 0, 0] * 255).round().tolist() == [[1, 2, number] for number in range(4)]
    assert (test[:, :, 0, 0] * 255).round().tolist() == [[6, 7, 8], [3, 4, 5]]
    assert (val_labels.tolist(), test_labels.tolist()) == ([1, 1, 1, 1], [0, 2])
    assert np.bincount(data.arrays.train_labels[data.train_indices]).tolist() == [3, 4, 3]
    assert data.describe().splitlines() == [
        "10 training, 4 validation and 2 test images of 16 x 16 x 3",
        "3 classes of 3 (ant) to 4 (bee) training images",
        f"the validation images are those of {tmp_path / 'val'}, whatever val_size says",
    ]


def test_description_says_what_was_held_out_and_not_read(tmp_path):
    photos(tmp_path, ant=12, bee=12)
    save(tmp_path / "valid" / "ant" / "0.png")
    assert ready(tmp_path).describe().splitlines() == [
        "20 training, 2 validation and 2 test images of 16 x 16 x 3",
        *ready(tmp_path).describe().splitlines()[1:2],
        f"there is no {tmp_path / 'test'}: a tenth of train/ is the test set, whatever the seed",
        "not read, being neither train/ nor val/ nor test/: valid",
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

    def counted(paths, size):
        counts.append(len(paths))
        return decode_files(paths, size)

    monkeypatch.setattr(decode, "decode_files", counted)
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
    assert [ready(tmp_path, image_size=size).input_shape for size in (16, 20, 16)] == [
        (3, 16, 16),
        (3, 20, 20),
        (3, 16, 16),
    ]
    assert decodings == [10, 10]


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
    assert data.folder.parent == tmp_path / "cache" / "own_images"
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


# Bad input.


def snapshot(folder):
    files = [path for path in folder.rglob("*") if path.is_file() and ".arrays" not in path.parts]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def text(path):
    path.write_text("not an image")


def cut_short(path):
    save(path, size=(200, 200), quality=95)
    path.write_bytes(path.read_bytes()[:-100])


def postscript(path):
    path.write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 20 20\n%%EndComments\nshowpage\n")


BAD_FILES = {
    "text": ("a.txt", text, "no image of a known format"),
    "text that is called an image": ("a.jpg", text, "no image of a known format"),
    "empty": ("a.png", lambda path: path.write_bytes(b""), "no image of a known format"),
    "PostScript": ("a.eps", postscript, "no image of a known format"),
    "cut short": ("a.jpg", cut_short, "truncated"),
    "32-bit float": ("a.tif", lambda path: save(path, 0.5, mode="F"), "32-bit values"),
    "32-bit whole": ("a.tif", lambda path: save(path, 70_000, mode="I"), "32-bit values"),
    "negative": ("a.tif", lambda path: save(path, -1, mode="I"), "32-bit values"),
    "link to nothing": ("a.png", lambda path: path.symlink_to("nothing.png"), "link to none"),
    "pipe": ("a.png", os.mkfifo, "no file"),
    "more pixels than Pillow allows": ("a.png", lambda path: save(path, size=(50, 50)), "2500 pixels"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_unreadable_file_is_named_and_left_out_only_when_asked(tmp_path, capsys, monkeypatch, kind):
    name, write, reason = BAD_FILES[kind]
    photos(tmp_path, ant=6, bee=6)
    write(tmp_path / "train" / "bee" / name)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1200 if "pixels" in kind else 100_000)
    with pytest.raises(ValueError, match=rf"unreadable files: 1, namely train/bee/{name} \(.*{reason}"):
        ready(tmp_path)
    assert not list(tmp_path.glob(".arrays/16px*"))

    data = ready(tmp_path, skip_bad=True)
    assert len(data.arrays.train_labels) + len(data.arrays.test_labels) == 12
    assert f"namely train/bee/{name} (" in capsys.readouterr().out
    assert data.describe().splitlines()[-1] == f"unreadable files left out: 1, listed in {data.folder / 'skipped.json'}"
    assert list(json.loads((data.folder / "skipped.json").read_text())) == [f"train/bee/{name}"]
    with pytest.raises(ValueError, match=f"train/bee/{name}"):  # the arrays are there now, but without it
        ready(tmp_path)


def test_rows_stay_with_their_labels_when_files_of_every_split_are_left_out(tmp_path):
    photos(tmp_path, ant=5, bee=5)
    for split, name in (("val", "ant"), ("val", "bee"), ("test", "ant"), ("test", "bee")):
        save(tmp_path / split / name / "1.png", (60 * (name == "bee"), 50 + len(split), 0))
    for spoilt in ("train/ant/0.png", "val/ant/0.png", "val/bee/0.png", "test/bee/0.png", "train/loose.png"):
        text(tmp_path / spoilt)
    data = ready(tmp_path, skip_bad=True)
    images, labels = data.arrays.train_images[:, 0, 0], data.arrays.train_labels
    assert images[data.val_indices].tolist() == [[0, 53, 0], [60, 53, 0]]
    assert data.arrays.test_images[:, 0, 0].tolist() == [[0, 54, 0], [60, 54, 0]]
    assert images[data.train_indices, 1].tolist() == [1, 2, 3, 4, 0, 1, 2, 3, 4]
    assert (images[:, 0] == 60 * labels).all()
    assert data.skipped["train/loose.png"] == "in no class folder"


def test_of_many_unreadable_files_ten_are_named(tmp_path):
    photos(tmp_path, ant=6, bee=6)
    for number in range(12):
        text(tmp_path / "train" / "ant" / f"{number:02}.txt")
    with pytest.raises(ValueError, match=r"unreadable files: 12, namely train/ant/00.txt .* and 2 more;") as caught:
        ready(tmp_path)
    assert str(caught.value).count(".txt") == 10


def no_folder(root):
    (root / "train" / "ant").rename(root / "ant")
    (root / "train" / "bee").rename(root / "bee")
    (root / "train").rmdir()


def one_class(root):
    (root / "train" / "bee").rename(root / "bee")


def empty_class(root):
    (root / "train" / "cat").mkdir()
    (root / "train" / "cat" / ".DS_Store").write_text("")


def empty_val_class(root):
    (root / "val" / "bee").mkdir(parents=True)


def no_classes(root):
    save(root / "test" / "0.png")


def unknown_class(root):
    save(root / "test" / "dog" / "0.png")


def stray(root):
    save(root / "train" / "loose.png")


def all_unreadable(root):
    for number in range(3):
        (root / "train" / "cat").mkdir(exist_ok=True)
        text(root / "train" / "cat" / f"{number}.jpg")


def all_of_val_unreadable(root):
    (root / "val" / "bee").mkdir(parents=True)
    text(root / "val" / "bee" / "0.jpg")


def single_images(root):
    for path in [*root.glob("train/*/*.png")]:
        if path.name != "0.png":
            path.unlink()


def nothing(root):
    pass


@pytest.mark.parametrize(
    ("spoil", "flags", "named"),
    [
        (no_folder, [], ["no folder train/", "train/<class>/*.jpg"]),
        (nothing, ["--data_dir", "nowhere"], ["nowhere: no folder train/"]),
        (one_class, [], ["train: need a folder for each of two or more classes, found only 'ant'"]),
        (empty_class, [], ["train/cat: an empty class"]),
        (empty_val_class, [], ["val/bee: an empty class"]),
        (no_classes, [], ["test: no class folders"]),
        (unknown_class, [], ["test/dog: train/ has no class 'dog'"]),
        (stray, [], ["train/loose.png (in no class folder)", "--skip_bad"]),
        (all_unreadable, ["--skip_bad"], ["train/cat: no readable image in this class"]),
        (all_of_val_unreadable, ["--skip_bad"], ["val: no readable image in it"]),
        (single_images, [], ["no test/", "hold out"]),
        (nothing, ["--image_size", "8"], ["image_size 8"]),
        (nothing, ["--val_size", "9"], ["the splits leave it no training image"]),
        (nothing, ["--val_size", "10"], ["val_size 10", "10 training images"]),
        (nothing, ["--skip_bat"], ["--skip_bat", "did you mean --skip_bad"]),
    ],
)
def test_mistake_is_one_line_and_costs_the_user_nothing(tmp_path, capsys, spoil, flags, named):
    root = photos(tmp_path / "photos", ant=6, bee=6)
    spoil(root)
    before = snapshot(root)
    with pytest.raises(SystemExit) as stop:
        run(tmp_path, "--data_dir", str(root), *flags)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert all(part in line for part in named), line
    assert snapshot(root) == before
    assert not (tmp_path / "runs").exists()


def run(tmp_path, *flags):
    defaults = ["--net", "softmax", "--max_epochs", "1", "--accelerator", "cpu", "--pictures", "false"]
    defaults += ["--run_dir", str(tmp_path / "runs")]
    cli(own_images.main, own_images.RECIPES, [*defaults, *flags])
    (metrics,) = tmp_path.glob("runs/own_images/*/metrics.json")
    return json.loads(metrics.read_text())


def test_script_trains_on_a_folder_and_leaves_its_files_alone(tmp_path, capsys):
    root = photos(tmp_path / "photos", ant=12, bee=12, cat=12)
    text(root / "train" / "cat" / "notes.txt")
    before = snapshot(root)
    flags = ["--data_dir", str(root), "--net", "cnn", "--image_size", "20", "--skip_bad", "--augment", "flip,crop:2"]
    metrics = run(tmp_path, *flags)
    assert metrics["test/samples"] == 3  # one of each twelve
    out = capsys.readouterr().out
    assert f"{root}: decoding 37 images to 20 x 20, kept in {root / '.arrays'}" in out
    assert f"{root}: resized to 20 x 20: 36, from 24 x 24" in out
    assert "30 training, 3 validation and 3 test images of 20 x 20 x 3" in out
    assert snapshot(root) == before


def test_sample_needs_no_folder(tmp_path):
    flags = ["--sample", "--data_dir", str(tmp_path / "none"), "--limit_train_batches", "2", "--augment", ""]
    assert run(tmp_path, *flags)["test/samples"] == 500
    assert not (tmp_path / "none").exists()
