"""augmentations.py: a row for every augmentation that there is, what the rows show, and bad input."""

import numpy as np
import pytest
import torch

from datamodules.augment import AUGMENTATIONS
from experiments import augmentations
from experiments.fundamentals.augmentation_draws import changed, draws
from harness.command_line.cli import cli
from harness.drawing.image_figures import draw_rows


def test_every_augmentation_is_shown_once():
    assert sorted(part.split(":")[0] for part in augmentations.SHOWN.split(",")) == sorted(AUGMENTATIONS)


def test_epochs_of_altflip_alternate_and_those_of_grow_become_whole():
    image = torch.rand(3, 16, 16)
    flipped = draws(image, "altflip", 4)
    mirrored = [torch.equal(each, image.flip(-1)) for each in flipped]
    assert mirrored in ([False, True] * 2, [True, False] * 2)
    grown = draws(0 * image, "grow:8", 4)  # black, so that the border shows
    assert [int((each[0] == 0).sum()) for each in grown] == [8**2, 12**2, 12**2, 16**2]
    assert not grown[0, :, 4:12, 4:12].any()  # in the middle


def test_change_is_numpys_root_mean_square():
    image, made = torch.rand(3, 4, 4), torch.rand(5, 3, 4, 4)
    assert changed(image, made) == pytest.approx(np.sqrt(((made - image).numpy() ** 2).mean()))


def test_rows_are_drawn_where_their_names_say():
    rows = {"dark": torch.zeros(2, 3, 64, 64), "light": torch.full((2, 3, 64, 64), 0.5)}
    (axes,) = draw_rows(rows, ["a", "b"], "title").axes
    picture = np.asarray(axes.images[0].get_array())
    for tick, place in zip(axes.get_yticklabels(), axes.get_yticks(), strict=True):
        assert picture[int(place), 20, 0] == {"dark": 0, "light": 0.5}[tick.get_text()]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["a", "b"]


def test_script_does_what_the_header_says(tmp_path, capsys):
    metrics = cli(augmentations.main, None, ["--run_dir", str(tmp_path)])
    changes = metrics["changes"]
    assert max(changes, key=changes.get) == "vflip"
    assert min(changes, key=changes.get) == "saturation:0.9"
    (figure,) = tmp_path.glob("augmentations/*/figures/*.png")
    assert figure.stem == "augmentations"
    assert f"{changes['vflip']:.3f}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--augment", ""], "augment '': name at least one"),
        (["--augment", "crop:4,flop"], "augment 'flop': no such augmentation"),
        (["--augment", "crop:64"], "augment 'crop:64': must be below 64"),
        (["--epochs", "0"], "epochs 0: must be "),
        (["--epochs", "13"], "epochs 13: must be from 1 to 12"),
        (["--image", "none.jpg"], "none.jpg: no file"),
        (["--image_size", "4"], "image_size 4: must be at least 8"),
    ],
)
def test_bad_input_ends_with_one_line(refusal, flags, said):
    assert said in refusal(augmentations.main, *flags)
