"""Images with masks: augmented alike, generated, and read from a user's folder."""

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules import scenes
from datamodules.augment import AUGMENTATIONS, MOVING, NOT_FOR_MASKS, parse_augmentations
from datamodules.batches import Masked
from datamodules.mask_batches import MaskBatches
from datamodules.mask_files import list_pairs, read_classes, read_pairs
from datamodules.mask_folder import MaskFolder

CPU = torch.device("cpu")


def batches(augment, images, masks, num_classes, epoch=0):
    moves = [name.partition(":")[0] in MOVING for name in augment.split(",")]
    return MaskBatches(
        Masked(images, masks, CPU), np.arange(len(images)), 16, 0, lambda: epoch,
        parse_augmentations(augment), epochs=4, num_classes=num_classes, moves=moves,
    )  # fmt: skip


def labelled(num_classes=4, step=60):
    """Grey images, and masks that say the same: a pixel of class k has the value `step` * k."""
    masks = np.random.default_rng(0).integers(num_classes, size=(48, 12, 12), dtype=np.uint8)
    return step * masks, masks


@pytest.mark.parametrize("augment", ["flip", "altflip", "vflip", "rotate90", "crop:3", "shift:2", "flip,crop:2,vflip"])
def test_pixels_of_image_and_mask_move_alike(augment):
    pictures, original = labelled()
    changed = 0
    for images, masks in batches(augment, pictures, original, 4):
        assert masks.dtype == torch.uint8
        torch.testing.assert_close(images[:, 0] * 255, 60.0 * masks)  # black is class 0
        changed += sum(not any(np.array_equal(mask, each) for each in original) for mask in masks.numpy())
    assert changed > 16


@pytest.mark.parametrize("augment", ["rotate:20", "zoom:0.3", "elastic:1.5", "rotate:20,zoom:0.2,flip"])
def test_turned_and_bent_masks_are_where_the_image_is_nearer_to_their_class(augment):
    _, original = labelled(2)
    original = original.repeat(4, 1).repeat(4, 2)  # 48 x 48, of blocks of 16 pixels
    for images, masks in batches(augment, 255 * original, original, 2):
        values = images[:, 0]
        assert (masks[values > 0.51] == 1).all()
        assert (masks[values < 0.49] == 0).all()  # at the border too, where a part comes from outside
        assert ((values > 0.02) & (values < 0.98)).any()  # something was turned or bent


GREY_STAYS = ("saturation",)  # and the pictures are grey


@pytest.mark.parametrize("augment", sorted(set(AUGMENTATIONS) - {*MOVING, *NOT_FOR_MASKS, *GREY_STAYS}))
def test_masks_stay_where_only_values_change(augment):
    pictures, original = labelled(step=40)
    loader = batches(augment, pictures, original, 4)
    for number, (images, masks) in enumerate(loader):
        rows = loader.samples(number)
        assert np.array_equal(masks.numpy(), original[rows])
        assert not np.array_equal((255 * images[:, 0]).round().byte().numpy(), pictures[rows])


def test_what_follows_is_the_same_after_a_resume():
    pictures, masks = labelled()
    whole, again = (batches("flip,rotate:10,noise", pictures, masks, 4) for _ in range(2))
    wanted = list(whole)
    again.load_state_dict({"epoch": 0, "batches": 1})
    for one, other in zip(wanted[1:], again, strict=True):
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


def test_sample_is_the_same_each_time_and_its_shapes_are_bright():
    first, second = scenes.scenes(40, 10), scenes.scenes(40, 10)
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one, other)
    pixels = np.concatenate([first.train_images, first.test_images]).mean(3) / 255
    masks = np.concatenate([first.train_labels, first.test_labels])
    assert set(np.unique(masks)) == set(range(len(scenes.CLASSES)))
    assert pixels[masks == 0].mean() == pytest.approx(scenes.DARK / 2, abs=0.03)
    assert pixels[masks > 0].mean() == pytest.approx((1 + scenes.BRIGHT) / 2, abs=0.03)


def test_shapes_have_the_areas_of_their_formulas():
    inside, kinds = scenes._draw_shapes(1000, np.random.default_rng(1))
    square = np.mean(np.random.default_rng(2).uniform(8, 14, 10_000) ** 2)  # of the radius
    shares = {"disc": np.pi, "square": 1.6**2, "triangle": 1.5**2 / 1.73, "ring": 0.75 * np.pi}
    for name, share in shares.items():
        area = inside[kinds == scenes.CLASSES.index(name)].sum((1, 2)).mean()
        assert 0.8 * share * square < area < 1.05 * share * square  # those at the border are cut off


def save(path, pixels, mode=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(pixels, np.uint8), mode).save(path)


def plots(root, count=12, values=(0, 255), size=(20, 30)):
    """Images of one colour each, and masks whose right half is the second value, and further ones in a row below."""
    for number in range(count):
        mask = np.zeros(size, np.uint8)
        mask[:, size[1] // 2 :] = values[1]
        for place, value in enumerate(values[2:]):
            mask[-2 * place - 2 : size[0] - 2 * place] = value
        save(root / "images" / f"{number:02d}.png", np.full((*size, 3), 10 * number))
        save(root / "masks" / f"{number:02d}.png", mask)
    return root


def ready(root, **options):
    data = MaskFolder(str(root), **{"image_size": 16, **options})
    data.prepare_data()
    data.setup()
    return data


def test_black_and_white_masks_are_two_classes_and_stay_with_their_images(tmp_path):
    data = ready(plots(tmp_path), val_size=3)
    assert data.classes == ("background", "object")
    arrays = data.arrays
    assert (len(arrays.train_images), len(arrays.test_images)) == (11, 1)
    colours = [image[0, 0, 0] for image in (*arrays.train_images, *arrays.test_images)]
    assert sorted(colours) == [10 * number for number in range(12)]
    wanted = np.repeat([0, 1], 8) * np.ones((16, 1))
    assert all(np.array_equal(mask, wanted) for mask in (*arrays.train_labels, *arrays.test_labels))
    assert "2 classes, each 50.0% of the training pixels" in data.describe()


def test_numbers_in_masks_are_classes_by_file_or_flag_and_binary_merges_them(tmp_path):
    root = plots(tmp_path, values=(0, 1, 2))
    (root / "classes.txt").write_text("soil\nmaize\nweed\n\n")
    by_file = ready(root)
    assert by_file.classes == ("soil", "maize", "weed")
    assert set(np.unique(by_file.arrays.train_labels)) == {0, 1, 2}
    assert ready(root, classes=["a", "b", "c"]).classes == ("a", "b", "c")
    merged = ready(root, binary=True)
    assert merged.classes == ("soil", "object")
    assert np.array_equal(merged.arrays.train_labels, np.minimum(by_file.arrays.train_labels, 1))


def test_palette_one_bit_and_jpeg_are_read_in_deeper_folders(tmp_path):
    root = plots(tmp_path, count=6)
    half = np.repeat([0, 1], 8) * np.ones((16, 1))
    palette = Image.fromarray(half.astype(np.uint8))
    palette.putpalette([255, 0, 0, 0, 255, 0])
    (root / "masks" / "deep").mkdir()
    palette.save(root / "masks" / "deep" / "a.png")
    Image.fromarray(half > 0).save(root / "masks" / "deep" / "b.png")  # one bit
    for name in "ab":
        save(root / "images" / "deep" / f"{name}.jpg", np.zeros((16, 16, 3)))
    data = ready(root)
    assert len(data.arrays.train_labels) + len(data.arrays.test_labels) == 8
    assert all(np.array_equal(mask, half) for mask in data.arrays.train_labels)


def test_masks_without_an_image_are_named_and_not_used(tmp_path):
    root = plots(tmp_path)
    save(root / "masks" / "extra.png", np.zeros((20, 30)))
    assert [path.name for path in list_pairs(root).unused] == ["extra.png"]
    assert f"masks without an image, not used: {root / 'masks' / 'extra.png'}" in ready(root).describe()


@pytest.mark.parametrize("names", [["a"], ["a", "a"], [str(number) for number in range(256)]])
def test_one_class_or_too_many_are_refused(tmp_path, names):
    with pytest.raises(ValueError, match="needs the names of 2 to 255 classes"):
        read_classes(tmp_path, names)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_mask_is_turned_upright_as_its_image_is(tmp_path, orientation):
    pixels = np.zeros((20, 30), np.uint8)
    pixels[:5, :10] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
    Image.fromarray(np.repeat(pixels[..., None], 3, 2)).save(tmp_path / "images" / "a.png", exif=exif)
    Image.fromarray(pixels).save(tmp_path / "masks" / "a.png", exif=exif)
    images, masks = read_pairs([*list_pairs(tmp_path).found.values()], 60, 2)
    bright = images[0, ..., 0] > 127
    assert masks[0].sum() == pytest.approx(300, rel=0.05) and (bright == masks[0]).mean() > 0.98
