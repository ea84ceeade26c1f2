"""Operations on batches, TrivialAugment and RandAugment, against torchvision's, which treat one image at a time."""

import math
from collections import Counter

import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as vision
from torchvision.transforms.autoaugment import RandAugment, TrivialAugmentWide

from datamodules import auto_augment, pixel_ops
from datamodules.auto_augment import NARROW, OPERATIONS, SHIFT, WIDE, rand_augment, trivial_augment

BILINEAR = InterpolationMode.BILINEAR
NUMBERS = [0.0, 0.35, 1.0, 1.7]


def batch(*shape):
    """Images of whole numbers out of 255, as in files: smooth in one direction, noisy in the other."""
    noise = torch.randint(0, 160, shape, generator=torch.Generator().manual_seed(0))
    return (noise + torch.linspace(0, 95, shape[-1]).int()) / 255


def eight_bits(images):
    return (images * 255).round().to(torch.uint8)


def sheared(image, along_x, slope):
    angles = [math.degrees(math.atan(slope)) * (axis == along_x) for axis in (True, False)]
    return vision.affine(image, 0.0, [0, 0], 1.0, angles, BILINEAR, center=[0, 0])


PEERS = {
    "adjust_brightness": vision.adjust_brightness,
    "adjust_contrast": vision.adjust_contrast,
    "adjust_saturation": vision.adjust_saturation,
    "adjust_sharpness": vision.adjust_sharpness,
    "solarize": lambda image, number: vision.solarize(image, min(number, 1)),
    "rotate": lambda image, number: vision.rotate(image, 40 * number, BILINEAR),
    "shear_x": lambda image, number: sheared(image, True, number),
    "shear_y": lambda image, number: sheared(image, False, number),
    "translate_x": lambda image, number: vision.affine(image, 0, [round(10 * number), 0], 1, [0.0], BILINEAR),
    "translate_y": lambda image, number: vision.affine(image, 0, [0, round(-10 * number)], 1, [0.0], BILINEAR),
}
SCALES = {"rotate": 40, "translate_x": 10, "translate_y": -10}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", PEERS)
def test_each_image_is_changed_by_its_own_number_as_by_torchvision(name, channels):
    images, numbers = batch(len(NUMBERS), channels, 20, 33), torch.tensor(NUMBERS)
    given = (numbers * SCALES.get(name, 1)).round() if "translate" in name else numbers * SCALES.get(name, 1)
    expected = [PEERS[name](image, number) for image, number in zip(images, NUMBERS, strict=True)]
    torch.testing.assert_close(getattr(pixel_ops, name)(images, given), torch.stack(expected), rtol=0, atol=2e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_posterize_equalize_and_autocontrast_are_torchvisions_of_eight_bits(channels):
    images = batch(7, channels, 20, 33)
    images[1] = images[1, :, :1, :1]  # plain
    images[2] = (images[2] > 0.4).float() * 0.8  # two values
    whole = eight_bits(images)
    bits = torch.arange(2, 9)
    expected = torch.stack([vision.posterize(image, int(number)) for image, number in zip(whole, bits, strict=True)])
    assert torch.equal(eight_bits(pixel_ops.posterize(images, bits)), expected)
    expected = torch.stack([vision.equalize(image) for image in whole])
    assert torch.equal(eight_bits(pixel_ops.equalize(images)), expected)
    expected = torch.stack([vision.autocontrast(image) for image in images])
    torch.testing.assert_close(pixel_ops.autocontrast(images), expected)


BOXES = [(0, 0, 20, 33), (3, 5, 10, 8), (19, 0, 1, 33), (7, 30, 13, 3)]  # top, left, height, width


def test_boxes_are_enlarged_as_by_torchvision():
    images = batch(len(BOXES), 3, 20, 33)
    expected = [vision.resized_crop(image, *box, [20, 33], BILINEAR) for image, box in zip(images, BOXES, strict=True)]
    made = pixel_ops.resized_crop(images, *torch.tensor(BOXES, dtype=torch.float).T)
    torch.testing.assert_close(made, torch.stack(expected), rtol=0, atol=1e-4)


TORCHVISIONS = {"saturation": "Color", "autocontrast": "AutoContrast"}
TITLES = {name: TORCHVISIONS.get(name, name.title().replace("_", "")) for name in OPERATIONS}


def test_ranges_are_those_of_torchvision():
    wide, narrow = TrivialAugmentWide()._augmentation_space(31), RandAugment()._augmentation_space(31, (20, 33))
    assert sorted(TITLES.values()) == sorted(wide) == sorted(narrow)
    sides = {"translate_x": SHIFT * 33, "translate_y": SHIFT * 20}
    for ours, theirs in ((WIDE, wide), (NARROW | sides, narrow)):
        for name, title in TITLES.items():
            magnitudes, signed = theirs[title]
            assert signed == (name not in auto_augment.UNSIGNED)
            if not magnitudes.ndim:
                assert name not in ours
                continue
            levels = ours[name] * torch.arange(31) / 30
            made = {"posterize": 8 - levels.round(), "solarize": 1 - levels}.get(name, levels)
            scale = 255 if name == "solarize" else 1
            torch.testing.assert_close(made, magnitudes.float() / scale, rtol=1e-5, atol=1e-6)


def test_every_operation_is_chosen_equally_often_and_images_stay_in_their_places(monkeypatch):
    marks = {name: 0.01 * (number + 1) for number, name in enumerate(OPERATIONS)}
    adding = {name: (lambda images, amounts, mark=mark: images + mark) for name, mark in marks.items()}
    monkeypatch.setattr(auto_augment, "OPERATIONS", adding)
    torch.manual_seed(0)
    images = torch.arange(2800.0).view(-1, 1, 1, 1).double()
    added = (trivial_augment(images) - images).flatten()
    counts = Counter(added.mul(100).round().int().tolist())
    assert set(counts) == set(range(1, 15))
    assert all(abs(count - 200) < 60 for count in counts.values())  # 4.4 standard deviations


def test_rand_augment_changes_by_two_operations_of_its_magnitude(monkeypatch):
    amounts_seen = []

    def noted(images, amounts):
        amounts_seen.append(amounts)
        return images + 1

    monkeypatch.setattr(auto_augment, "OPERATIONS", {"rotate": noted})
    images = torch.zeros(400, 1, 2, 2)
    torch.manual_seed(0)
    assert (rand_augment(images, 12) == 2).all()
    amounts = torch.cat(amounts_seen)
    torch.testing.assert_close(amounts.abs(), torch.full((800,), 12.0))  # 12 of 30 steps to 30 degrees
    assert abs(int((amounts > 0).sum()) - 400) < 64  # 4.5 standard deviations


@pytest.mark.parametrize("augment", [trivial_augment, lambda images: rand_augment(images, 30)])
def test_values_stay_in_range(augment):
    images = batch(300, 3, 16, 16)
    torch.manual_seed(0)
    made = augment(images)
    assert made.isfinite().all()
    assert made.min() >= -1e-6 and made.max() <= 1 + 1e-6
    assert torch.equal(images, batch(300, 3, 16, 16))
