"""What each kind of image file decodes to."""

import struct
import zlib

import numpy as np
import pytest
from photos import COLOUR, GREY, save
from PIL import Image

from datamodules.decode import decode_files


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


@pytest.mark.parametrize("ending", ["png", "webp", "jpg"])
def test_damaged_exif_data_turn_nothing(tmp_path, ending):
    picture = np.random.default_rng(0).integers(256, size=(16, 16, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / f"plain.{ending}")
    Image.fromarray(picture).save(tmp_path / f"damaged.{ending}", exif=b"Exif\0\0garbage that is no TIFF file")
    images, bad, _ = decode_files([tmp_path / f"plain.{ending}", tmp_path / f"damaged.{ending}"], 16)
    assert not bad and np.array_equal(*images)


def test_transparent_value_of_16_bits_is_white(tmp_path):
    values = np.full((16, 16), 120 * 257, np.uint16)
    values[:8] = 7
    Image.fromarray(values).save(tmp_path / "a.png", transparency=7)
    (image,) = decode_files([tmp_path / "a.png"], 16).images
    assert (image[:8] == 255).all() and (image[8:] == 120).all()


def test_dark_pgm_of_16_bits_is_dark(tmp_path):
    values = np.linspace(0, 255, 256).reshape(16, 16).astype(">u2")
    (tmp_path / "a.pgm").write_bytes(b"P5 16 16 65535\n" + values.tobytes())
    (image,) = decode_files([tmp_path / "a.pgm"], 16).images
    assert np.array_equal(image[..., 0], (values > 128).astype(np.uint8))  # v / 257, rounded
