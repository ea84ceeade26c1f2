"""Ink is found, inverted and centred, as digits at known places show."""

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from datamodules.handwriting import centre, is_inverted, otsu_threshold
from datamodules.samples import digits

MEAN = 0.13  # of MNIST's training pixels


def drawing(left, top, width, height, size=(200, 120), ink=255, ground=0):
    image = Image.new("L", size, ground)
    ImageDraw.Draw(image).rectangle((left, top, left + width - 1, top + height - 1), fill=ink)
    return image


@pytest.mark.parametrize(("left", "top", "width", "height"), [(7, 5, 40, 100), (150, 60, 45, 45), (60, 90, 120, 24)])
def test_box_of_any_place_and_size_is_in_the_middle_with_20_pixels(left, top, width, height):
    result = np.asarray(centre(drawing(left, top, width, height), 28))
    rows, columns = (np.flatnonzero((result > 127).any(axis)) for axis in (1, 0))
    assert max(len(rows), len(columns)) == 20
    assert len(rows) / len(columns) == pytest.approx(height / width, rel=0.07)  # whole pixels
    for places in (rows, columns):  # the middle of the square is between pixels 13 and 14
        assert (places[0] + places[-1]) / 2 == pytest.approx(13.5, abs=0.5)


def test_ink_takes_the_share_of_the_square_that_is_asked_for():
    result = np.asarray(centre(drawing(7, 5, 40, 100), 28, share=1)) > 127
    assert result.any(1).all()
    assert result.any(0).sum() == 11  # 0.4 * 28


def test_centre_of_mass_and_not_of_the_box_is_in_the_middle():
    triangle = Image.new("L", (100, 100))
    ImageDraw.Draw(triangle).polygon([(10, 10), (10, 90), (90, 90)], fill=255)
    result = np.asarray(centre(triangle, 28), float)
    middle = [(result.sum(1 - axis) * np.arange(28)).sum() / result.sum() for axis in (0, 1)]
    assert middle == pytest.approx([13.5, 13.5], abs=0.51)  # that of the box would be at 20 / 6 from there


def test_uneven_light_noise_and_a_speck_leave_the_same_digit():
    rng, ink = np.random.default_rng(0), np.asarray(drawing(60, 30, 30, 60), float) / 255
    light = 0.6 * np.arange(200) - 60  # across
    photo = 190 + light - 130 * ink + 4 * rng.standard_normal(ink.shape)  # dark on paper
    photo[100, 180] = 0
    photo = Image.fromarray(photo.clip(0, 255).astype(np.uint8))
    assert is_inverted(np.asarray(photo), MEAN)
    plain = np.asarray(centre(drawing(60, 30, 30, 60), 28), float)
    result = np.asarray(centre(ImageOps.invert(photo), 28), float)
    assert abs(result - plain).mean() < 0.1 * 255
    assert ((result > 127) == (plain > 127)).mean() > 0.97


@pytest.mark.parametrize("ground", [0, 255])
def test_nothing_drawn_gives_an_empty_image(ground):
    assert not np.asarray(centre(Image.new("L", (50, 40), ground), 28)).any()


def test_inversion_is_found_on_every_digit_and_its_negative():
    for image in digits().test_images:
        assert not is_inverted(image, MEAN)
        assert is_inverted(255 - image, MEAN)
        assert is_inverted(image, 1 - MEAN)  # of a network that was trained on negatives


def test_thin_ink_in_a_large_image_and_dim_paper():
    assert is_inverted(np.asarray(drawing(50, 50, 3, 30, size=(400, 400), ink=0, ground=255)), MEAN)
    assert is_inverted(
        np.asarray(drawing(50, 20, 20, 60, ink=20, ground=100)), MEAN
    )  # darker than the middle of 0..255


def test_threshold_by_trying_all():
    pixels = np.random.default_rng(0).choice([*range(20, 60), *range(150, 255)], (30, 40)).astype(np.uint8)

    def between(threshold):
        low, high = pixels[pixels <= threshold], pixels[pixels > threshold]
        return low.size * high.size * (low.mean() - high.mean()) ** 2 if low.size and high.size else 0

    assert between(otsu_threshold(pixels)) == pytest.approx(max(map(between, range(256))))
