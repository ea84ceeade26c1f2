"""Augmentations against torchvision, numpy and closed forms."""

import math
import re

import numpy as np
import pytest
import torch
from scipy.stats import kstest
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as vision

from datamodules import augment
from datamodules import pixel_ops as ops
from datamodules.augment import Moment, check_sizes, parse_augmentations

ALL = """flip vflip rotate:30 rotate90 zoom:0.2 elastic:2 crop:4 shift:2 noise:0.1 brightness:0.2 contrast:0.2
    cutout:8 erase:0.5 resized_crop:0.2 trivialaugment randaugment""".split()


def batch(*shape, seed=0):
    """Random images; no value is 0, which is left to what augmentations blacken."""
    return 0.1 + 0.8 * torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def draw(spec, images, seed=0):
    (function,) = parse_augmentations(spec)
    torch.manual_seed(seed)
    return function(images, Moment(torch.arange(len(images)), 0, 1))


def always(monkeypatch, number):
    """Makes torch.rand return `number` only."""
    monkeypatch.setattr(torch, "rand", lambda *size, **_: torch.full(size, number))


@pytest.mark.parametrize(("spec", "mirror"), [("flip", np.fliplr), ("vflip", np.flipud)])
def test_flips_mirror_half_of_the_images(spec, mirror):
    images = batch(2000, 1, 4, 5)
    flipped = draw(spec, images)
    mirrored = 0
    for before, after in zip(images.numpy()[:, 0], flipped.numpy()[:, 0], strict=True):
        is_mirror = np.array_equal(after, mirror(before))
        assert is_mirror or np.array_equal(after, before)
        mirrored += is_mirror
    assert abs(mirrored - 1000) < 90  # four standard deviations of 2000 coins


def test_altflip_mirrors_every_other_epoch_and_half_of_the_images_in_each():
    images, (altflip,) = batch(2000, 1, 4, 5), parse_augmentations("altflip")
    for order in (torch.arange(2000), torch.randperm(2000, generator=torch.Generator().manual_seed(1))):
        epochs = [altflip(images[order], Moment(order, epoch, 3))[order.argsort()] for epoch in range(3)]
        mirrored = (epochs[0] == images.flip(-1)).all(dim=(1, 2, 3))
        assert torch.equal(epochs[0], torch.where(mirrored.view(-1, 1, 1, 1), images.flip(-1), images))
        assert torch.equal(epochs[1], epochs[0].flip(-1))
        assert torch.equal(epochs[2], epochs[0])
        assert abs(int(mirrored.sum()) - 1000) < 90  # four standard deviations of 2000 coins
        neighbours = (mirrored[1:] == mirrored[:-1]).sum()
        assert abs(int(neighbours) - 1000) < 90  # no pattern in the order of the files


def test_rotate90_makes_each_quarter_turn_equally_often():
    images = batch(2000, 1, 5, 5)
    counts = [0] * 4
    for before, after in zip(images.numpy()[:, 0], draw("rotate90", images).numpy()[:, 0], strict=True):
        (turns,) = [k for k in range(4) if np.array_equal(after, np.rot90(before, k))]
        counts[turns] += 1
    assert all(abs(count - 500) < 78 for count in counts)  # four standard deviations


@pytest.mark.parametrize("size", [(28, 28), (20, 33)])
@pytest.mark.parametrize(("number", "angle"), [(0.0, -40), (0.5, 0), (0.8, 24), (1.0, 40)])
def test_rotate_agrees_with_torchvision(monkeypatch, size, number, angle):
    images = batch(2, 3, *size)
    wanted = vision.rotate(images, angle, InterpolationMode.BILINEAR)
    always(monkeypatch, number)
    assert torch.allclose(draw("rotate:40", images), wanted, atol=1e-4)


@pytest.mark.parametrize("size", [(28, 28), (20, 33)])
@pytest.mark.parametrize(("number", "factor"), [(0.0, 0.7), (0.75, 1.15), (1.0, 1.3)])
def test_zoom_agrees_with_torchvision(monkeypatch, size, number, factor):
    images = batch(2, 3, *size)
    wanted = vision.affine(images, 0, [0, 0], factor, [0.0], InterpolationMode.BILINEAR)
    always(monkeypatch, number)
    assert torch.allclose(draw("zoom:0.3", images), wanted, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("number", "factor"), [(0.0, 0.4), (0.75, 1.3), (1.0, 1.6)])
@pytest.mark.parametrize(
    ("name", "adjust"),
    [
        ("brightness", vision.adjust_brightness),
        ("contrast", vision.adjust_contrast),
        ("saturation", vision.adjust_saturation),
    ],
)
def test_brightness_contrast_and_saturation_agree_with_torchvision(monkeypatch, name, adjust, number, factor, channels):
    images = batch(2, channels, 20, 33)  # from 0.1 to 0.9: some values leave 0..1
    wanted = adjust(images, factor)
    always(monkeypatch, number)
    assert torch.allclose(draw(f"{name}:0.6", images), wanted, atol=1e-5)


def test_contrast_takes_all_of_other_numbers_of_channels_alike():
    images = 0.4 + 0.2 * batch(3, 2, 8, 8)  # no value leaves 0..1
    after = draw("contrast:0.5", images)
    torch.testing.assert_close(after.mean((1, 2, 3)), images.mean((1, 2, 3)))
    assert (after.std((1, 2, 3)) / images.std((1, 2, 3)) - 1).abs().max() > 0.05


def test_resized_crop_draws_areas_and_ratios_of_their_ranges_and_any_place(monkeypatch):
    boxes = []
    monkeypatch.setattr(ops, "resized_crop", lambda images, *box: boxes.append(torch.stack(box)) or images)
    draw("resized_crop:0.25", torch.zeros(4000, 1, 100, 100))
    top, left, height, width = boxes[0]
    area, ratio = height * width / 100**2, (width / height).log()
    assert ((top >= 0) & (top + height <= 100) & (left >= 0) & (left + width <= 100)).all()
    assert area.min() > 0.24 and area.max() <= 1  # rounded to whole pixels
    assert ratio.abs().max() < math.log(4 / 3) + 0.03
    small = area < 0.5  # none of which is ever too wide
    places = (top / (100 - height).clamp(min=1))[small]
    assert places.mean() == pytest.approx(0.5, abs=0.03)
    assert kstest(((ratio[small] / math.log(4 / 3) + 1) / 2).double().numpy(), "uniform").pvalue > 0.001


def test_resized_crop_takes_the_whole_image_if_no_rectangle_fits(monkeypatch):
    images = batch(2, 3, 20, 33)
    always(monkeypatch, 0.99)  # all of the area, wider than high by a third
    torch.testing.assert_close(draw("resized_crop:0.9", images.transpose(2, 3)), images.transpose(2, 3))


@pytest.mark.parametrize("padding", [1, 2])
def test_crop_gives_every_window_of_the_padded_image_and_no_other(padding):
    image = batch(1, 2, 4, 6)
    padded = np.pad(image[0].numpy(), [(0, 0), (padding, padding), (padding, padding)])
    offsets = range(2 * padding + 1)
    windows = {padded[:, top : top + 4, left : left + 6].tobytes() for top in offsets for left in offsets}
    assert len(windows) == (2 * padding + 1) ** 2
    crops = draw(f"crop:{padding}", image.repeat(500, 1, 1, 1))
    assert {crop.numpy().tobytes() for crop in crops} == windows


def test_noise_is_gaussian_of_the_given_std():
    noisy = draw("noise:0.05", torch.full((4, 3, 32, 32), 0.5))  # ten standard deviations from 0 and 1
    standard = (noisy.flatten().numpy() - 0.5) / 0.05
    assert standard.std() == pytest.approx(1, abs=0.03)  # 12,288 values: 4.7 standard errors
    assert kstest(standard, "norm").pvalue > 0.001


def test_noise_stays_within_0_and_1():
    noisy = draw("noise:1", batch(4, 1, 28, 28))
    assert (noisy.min(), noisy.max()) == (0, 1)


@pytest.mark.parametrize("side", [1, 5, 8])
def test_cutout_blackens_one_square_that_only_the_border_cuts(side):
    images = batch(400, 3, 28, 28)
    after = draw(f"cutout:{side}", images)
    black = (after == 0).numpy()
    assert (black == black[:, :1]).all()  # the same pixels in each channel
    assert torch.equal(after[after != 0], images[after != 0])
    sizes = []
    for hole in black[:, 0]:
        rows, columns = np.flatnonzero(hole.any(1)), np.flatnonzero(hole.any(0))
        assert np.array_equal(hole, np.outer(hole.any(1), hole.any(0)))  # a rectangle
        for line in (rows, columns):
            assert len(line) == line[-1] - line[0] + 1
            assert len(line) == side or (len(line) < side and (line[0] == 0 or line[-1] == 27))
        sizes.append(hole.sum())
    lengths = [min(centre - side // 2 + side, 28) - max(centre - side // 2, 0) for centre in range(28)]
    assert max(sizes) == side**2
    assert np.mean(sizes) == pytest.approx(np.mean(lengths) ** 2, rel=0.05)  # rows and columns are independent


@pytest.mark.parametrize("axis", [2, 3])
def test_elastic_moves_points_by_a_field_as_smooth_as_in_its_paper(axis):
    shape = (4000, 1, 24, 36)
    ramp = torch.linspace(0, 1, shape[axis]).view([-1 if i == axis else 1 for i in range(4)]).expand(shape)
    pixels = 0.8
    inside = (slice(None), 0, slice(8, 16), slice(8, 28))  # farther from the border than points ever move
    moved = ((draw(f"elastic:{pixels}", ramp) - ramp) * (shape[axis] - 1))[inside] / pixels  # (4000, 8, 20)
    assert moved.mean(0).abs().max() < 0.08  # five standard deviations of 4000 normal numbers
    assert moved.var(0).sub(1).abs().max() < 0.11
    for apart in (1, 4, 7):  # white noise, blurred by a Gaussian of 4 pixels
        for a, b in ((moved[:, apart:], moved[:, :-apart]), (moved[..., apart:], moved[..., :-apart])):
            assert (a * b).mean() == pytest.approx(math.exp(-((apart / 4) ** 2) / 4), abs=0.02)
    assert (moved[:, 0, 0] * moved[:, 0, -1]).mean().abs() < 0.08  # far points know nothing of one another


@pytest.mark.parametrize("shape", [(6, 1, 28, 28), (6, 3, 32, 32)])
@pytest.mark.parametrize("spec", [*ALL, "saturation:0.5"])
def test_shape_dtype_and_input_are_kept_in_either_memory_format(spec, shape):
    images = batch(*shape)
    results = [draw(spec, images), draw(spec, images.contiguous(memory_format=torch.channels_last))]
    assert [(result.shape, result.dtype) for result in results] == [(torch.Size(shape), torch.float32)] * 2
    assert torch.allclose(*results, atol=1e-6)
    assert torch.equal(images, batch(*shape))


AT_LEAST = {
    "resized_crop:0.2": 60,
    "trivialaugment": 40,
    "randaugment": 40,
    "flip": 2,
    "vflip": 2,
    "rotate90": 4,
    "crop:4": 30,
    "shift:2": 15,
    "cutout:8": 50,
    "erase:0.5": 20,
}


@pytest.mark.parametrize(
    ("spec", "different"),
    # 64 draws from crop's 81 windows give 44 different ones on average, from shift's 25 all but one or two,
    # from cutout's 784 give 61; erase changes half of the images, and of TrivialAugment's operations four have no
    # strength that differs from image to image
    [(spec, AT_LEAST.get(spec, 64)) for spec in ALL],
)
def test_draws_follow_from_the_seed_and_differ_within_a_batch(spec, different):
    images = batch(1, 1, 28, 28).repeat(64, 1, 1, 1)
    first = draw(spec, images)
    assert torch.equal(draw(spec, images), first)
    assert not torch.equal(draw(spec, images, seed=1), first)
    assert len({image.numpy().tobytes() for image in first}) >= different


def test_parsed_augmentations_keep_their_order():
    images = batch(8, 1, 28, 28)
    torch.manual_seed(0)
    wanted = augment.crop(augment.noise(augment.flip(images), 0.2), 3)
    torch.manual_seed(0)
    for function in parse_augmentations("flip, noise:0.2,crop:3"):
        images = function(images, Moment(torch.arange(8), 0, 1))
    assert torch.equal(images, wanted)


def test_shift_moves_by_each_offset_equally_often_and_mirrors_the_border():
    images = batch(5000, 1, 6, 7)
    moved = draw("shift:2", images).numpy()[:, 0]
    counts = np.zeros((5, 5), int)
    padded = np.pad(images.numpy()[:, 0], ((0, 0), (2, 2), (2, 2)), mode="reflect")
    for before, after in zip(padded, moved, strict=True):
        (place,) = [(i, j) for i in range(5) for j in range(5) if np.array_equal(after, before[i : i + 6, j : j + 7])]
        counts[place] += 1
    assert abs(counts - 200).max() < 4 * 200**0.5


@pytest.mark.parametrize(
    ("epochs", "sides"), [(8, [20, 24, 24, 24, 28, 32, 32, 32]), (2, [20, 32]), (1, [20]), (3, [20, 24, 32])]
)
def test_grow_ends_with_the_whole_image(epochs, sides):
    images, (grow,) = batch(4, 3, 32, 32), parse_augmentations("grow:20")
    grown = [grow(images, Moment(torch.arange(4), epoch, epochs)) for epoch in range(epochs)]
    assert [image.shape for image in grown] == [(4, 3, side, side) for side in sides]
    assert sides[-1] != 32 or torch.equal(grown[-1], images)
    expected = vision.resize(images, [20, 20], antialias=True)
    torch.testing.assert_close(grown[0], expected)


def test_images_no_larger_than_what_grow_begins_with_stay_whole():
    check_sizes("grow:32", 28, 28)
    images, (grow,) = batch(2, 1, 28, 28), parse_augmentations("grow:32")
    assert all(torch.equal(grow(images, Moment(torch.arange(2), epoch, 4)), images) for epoch in range(4))


def test_grow_leaves_a_few_pixels():
    (grow,) = parse_augmentations("grow:1")
    assert grow(batch(1, 1, 8, 8), Moment(torch.arange(1), 0, 4)).shape == (1, 1, 4, 4)


def test_grow_needs_an_end():
    (grow,) = parse_augmentations("grow")
    with pytest.raises(ValueError, match="grow: needs to know"):
        grow(batch(1, 1, 8, 8), Moment(torch.arange(1), 0, -1))


def test_erase_fills_a_rectangle_of_some_images_with_noise():
    images = torch.full((2000, 3, 32, 32), 2.0)  # no noise is 2
    erased = draw("erase:0.3", images) != 2
    share = erased[:, 0].float().mean(dim=(1, 2))  # (2000,)
    hit = share > 0
    assert abs(int(hit.sum()) - 600) < 82  # four standard deviations
    rows, columns = erased[:, 0].any(2).sum(1), erased[:, 0].any(1).sum(1)
    assert torch.equal((rows * columns)[hit], erased[:, 0].sum(dim=(1, 2))[hit])  # full rectangles
    assert share[hit].min() > 0.005 and share[hit].max() < 0.45
    assert share[hit].mean() == pytest.approx(0.2, abs=0.03)  # areas of 0.02 to 0.4, some cut to the image's sides
    ratio = (rows[hit] / columns[hit]).log()
    assert ratio.mean() == pytest.approx(0, abs=0.1)
    filled = draw("erase:0.3", images)[erased]
    assert kstest(filled.double().numpy()[:5000], "uniform").pvalue > 0.01


@pytest.mark.parametrize(
    "spec",
    """rotate:10 zoom:0.1 elastic:1 crop:4 shift:2 noise:0.05 brightness:0.1 contrast:0.1 cutout:8
    erase:0.5""".split(),
)
def test_amount_has_a_default(spec):
    images = batch(4, 1, 28, 28)
    assert torch.equal(draw(spec.split(":")[0], images), draw(spec, images))


@pytest.mark.parametrize("text", ["", " ", ","])
def test_nothing_parses_as_no_augmentations(text):
    assert parse_augmentations(text) == []


@pytest.mark.parametrize(
    "spec",
    """flop Flip flip:1 altflip:1 rotate90:2 crop:0 crop:-1 crop:1.5 cutout:2.5 shift:1.5 erase:1.5 grow:20.5
    crop: crop:many noise:nan noise:inf rotate:1:2 zoom:1 zoom:1.5 brightness:1 contrast:2
    resized_crop:1 saturation:1 randaugment:31 trivialaugment:9""".split(),
)
def test_bad_spec_is_refused_by_name(spec):
    with pytest.raises(ValueError, match=re.escape(repr(spec))):
        parse_augmentations(f"vflip,{spec},noise")


@pytest.mark.parametrize("part", ["shift:28", "crop:40", "cutout:28", "elastic:30.5"])
def test_pixels_that_are_no_less_than_the_images_are_named(part):
    check_sizes("flip, crop:27, shift:27, rotate:90", 28, 32)
    with pytest.raises(ValueError, match=f"augment '{part}': must be below 28"):
        check_sizes(f"flip,{part}", 28, 32)


def test_quarter_turns_take_square_images():
    check_sizes("rotate90", 28, 28)
    with pytest.raises(ValueError, match="augment 'rotate90': takes square images, not 28 x 32"):
        check_sizes("rotate90", 28, 32)
