"""Predictions for image files, and one line for each mistake."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image

from basics.errors import InputError
from datamodules.arrays import write_arrays
from datamodules.handwriting import centre
from datamodules.samples import SHAPES, digits, shapes
from experiments import cifar10, mnist, own_images, predict, table
from harness.command_line.cli import cli
from harness.drawing.prediction_sheet import draw_sheet
from harness.drawing.short_names import tell_apart
from harness.runs.checkpoints import Checkpoint
from harness.tasks import image_prediction
from lit_modules import Classifier

QUICK = ["--accelerator", "cpu", "--batch_size", "64", "--pictures", "false"]
DRAWN = ["--pictures", "true"]


def train(folder, script, *flags):
    cli(script.main, script.RECIPES, [*QUICK, *flags, "--run_dir", str(folder)])
    (run,) = folder.glob("*/*")
    return run


@pytest.fixture(scope="module")
def digit_run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("digits"), mnist, "--sample", "--net", "mlp", "--max_epochs", "4", *DRAWN)


@pytest.fixture(scope="module")
def shape_run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("shapes"), cifar10, "--sample", "--net", "softmax", "--max_epochs", "1")


def test_network_for_images_that_are_not_square_is_one_line(tmp_path):
    model = Classifier("softmax", (3, 20, 40), 2)
    with pytest.raises(InputError, match="takes images of 20 x 40 pixels; files are made square here"):
        image_prediction.reader_of(Checkpoint(tmp_path / "best.ckpt", {}), model)


@pytest.mark.parametrize(("name", "kept"), [("mnist", True), ("fashion_mnist", True), ("own", False)])
def test_ground_is_that_of_the_data_where_a_network_has_a_normalisation_of_its_own(tmp_path, monkeypatch, name, kept):
    """The mean of its pretraining is 0.5, say, and says nothing of these images."""
    monkeypatch.setattr(image_prediction, "own_normalisation", lambda net: ([0.5], [0.5]))
    model = Classifier("softmax", (1, 28, 28), 10, [0.5], [0.5])
    read = Checkpoint(tmp_path / "best.ckpt", {"datamodule_hyper_parameters": {"name": name, "sample": False}})
    image = digits().test_images[0]
    Image.fromarray(image).save(tmp_path / "light.png")
    Image.fromarray(255 - image).save(tmp_path / "dark.png")
    read_file = image_prediction.reader_of(read, model)
    light, dark = (np.asarray(read_file(tmp_path / f"{kind}.png")) for kind in ("light", "dark"))
    assert light.mean() < 128  # as it is: light ink on a dark ground
    assert (dark.mean() < 128) == kept  # where that is known of the data, other images are made so


def call(folder, run, *args):
    """Predicts, and returns the rows of the table."""
    output = folder / "predictions.csv"
    cli(predict.main, None, [str(run), *map(str, args), "--output", str(output), "--force"])
    assert Image.open(folder / "predictions.png").width > 300
    with output.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def save(images, folder, inverted=False):
    folder.mkdir(parents=True)
    for number, image in enumerate(images):
        Image.fromarray(255 - image if inverted else image).save(folder / f"{number:03d}.png")


def shares_of(run, images):
    """What the model says of arrays as they are."""
    model = Classifier.load_from_checkpoint(run / "checkpoints" / "best.ckpt", weights_only=True, map_location="cpu")
    pixels = torch.from_numpy(images).float() / 255
    pixels = pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
    with torch.no_grad():
        return model.eval()(pixels).softmax(1).numpy()


def read_shares(rows, names):
    return np.array([[float(row[f"p({name})"]) for name in names] for row in rows])


def test_files_as_in_training_get_the_probabilities_of_the_arrays(tmp_path, shape_run, monkeypatch):
    monkeypatch.setattr(image_prediction, "BATCH", 16)  # three batches
    images = shapes().test_images[:40]
    save(images, tmp_path / "deep" / "er")
    rows = call(tmp_path, shape_run, tmp_path / "deep")
    names = cifar10.CIFAR10.classes
    expected = shares_of(shape_run, images)
    np.testing.assert_allclose(read_shares(rows, names), expected, atol=2e-6)  # six digits
    assert [row["label"] for row in rows] == [names[place] for place in expected.argmax(1)]
    assert [row["file"][-7:] for row in rows] == [f"{number:03d}.png" for number in range(40)]
    np.testing.assert_allclose([float(row["probability"]) for row in rows], expected.max(1), atol=2e-6)


def test_dark_ink_on_white_is_inverted_by_itself_and_by_flag(tmp_path, digit_run):
    images = digits().test_images[:30]
    expected = shares_of(digit_run, images)
    for name, inverted, flags in [
        ("as they are", False, []), ("white", True, []), ("white, said", True, ["--invert", "yes"]),
    ]:  # fmt: skip
        save(images, tmp_path / name, inverted)
        np.testing.assert_allclose(
            read_shares(call(tmp_path, digit_run, tmp_path / name, "--centred", "no", *flags), range(10)),
            expected,
            atol=2e-6,
        )
    wrong = read_shares(call(tmp_path, digit_run, tmp_path / "white", "--centred", "no", "--invert", "no"), range(10))
    np.testing.assert_allclose(wrong, shares_of(digit_run, 255 - images), atol=2e-6)


@pytest.mark.slow
def test_digits_of_any_place_are_centred_where_those_of_the_training_were(tmp_path):
    arrays = digits()
    train_images, images = (
        np.stack([np.asarray(centre(Image.fromarray(image), 28)) for image in images])
        for images in (arrays.train_images, arrays.test_images[:60])
    )
    write_arrays(tmp_path / "data" / "mnist", arrays._replace(train_images=train_images))
    flags = ["--data_dir", str(tmp_path / "data"), "--net", "mlp", "--max_epochs", "4"]
    run, labels = train(tmp_path / "runs", mnist, *flags), arrays.test_labels[:60]
    pages = np.zeros((60, 90, 120), np.uint8)
    pages[:, 50:78, 80:108] = images
    save(pages, tmp_path / "pages", inverted=True)
    right = [
        np.mean([int(row["label"]) == label for row, label in zip(rows, labels, strict=True)])
        for rows in (call(tmp_path, run, tmp_path / "pages", "--centred", value) for value in ("no", "auto"))
    ]
    assert right[0] < 0.35
    assert right[1] > 0.85


def test_network_of_the_sample_reads_digits_of_any_place_and_says_so(tmp_path, digit_run, capsys):
    arrays = digits()
    pages = np.full((60, 90, 120), 255, np.uint8)
    pages[:, 50:78, 80:108] = 255 - arrays.test_images[:60]
    save(pages, tmp_path / "pages")
    right = [
        np.mean([int(row["label"]) == label for row, label in zip(rows, arrays.test_labels[:60], strict=True)])
        for rows in (call(tmp_path, digit_run, tmp_path / "pages", "--centred", value) for value in ("no", "auto"))
    ]
    assert right[0] < 0.35
    assert right[1] > 0.85
    said = "trained on the embedded sample of 1,293 digits; train on MNIST for digits of your own\n"
    assert capsys.readouterr().out.count(said) == 2


def test_any_kind_and_size_of_file(tmp_path, shape_run):
    rng = np.random.default_rng(0)
    grey = Image.fromarray(rng.integers(0, 255, (50, 70), np.uint8))
    colour = grey.convert("RGB")
    colour.save(tmp_path / "a.jpg")
    colour.convert("CMYK").save(tmp_path / "b.tif")
    grey.save(tmp_path / "c.png")
    Image.fromarray(np.asarray(grey).astype(np.uint16) * 257).save(tmp_path / "d.png")
    clear = grey.convert("RGBA")
    clear.putalpha(0)
    clear.save(tmp_path / "e.png")
    Image.new("RGB", (3, 900), "white").save(tmp_path / "f, with a comma.png")
    rows = call(tmp_path, shape_run, *sorted(tmp_path.glob("[a-f]*")))
    shares = read_shares(rows, cifar10.CIFAR10.classes)
    np.testing.assert_allclose(shares[2], shares[3], atol=1e-6)  # 8 and 16 bits
    np.testing.assert_allclose(shares[4], shares[5], atol=1e-6)  # transparent is white
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-5)
    assert rows[5]["file"].endswith("f, with a comma.png")


@pytest.mark.parametrize(
    "names",
    [
        [f"scan_2024_{number:06d}_cropped_left.png" for number in (1, 2, 30, 31, 100)],
        ["handwritten_digit_zero", "handwritten_digit_one", "printed_digit_zero", "cat"],
        ["a" * 40 + "1" + "b" * 40, "a" * 40 + "2" + "b" * 40, "a" * 40 + "b" * 40, "c" * 40 + "1" + "b" * 40],
        ["t-shirt/top", "t-shirt/top, long sleeves", "t-shirt/top, short sleeves"],
    ],
)
def test_shortened_names_stay_different(names):
    for length in (13, 16):
        short = tell_apart(names, length)
        assert len(set(short)) == len(names)
        assert all(len(each) <= length for each in short)
        assert all(each == name for each, name in zip(short, names, strict=True) if len(name) <= length)


def test_sheet_names_folders_only_where_files_are_called_alike():
    image, shares = Image.new("L", (8, 8)), np.array([0.9, 0.1])
    alike, others = ["x/a/1.png", "x/b/1.png"], ["x/y/1.png", "x/y/2.png"]
    for files, shown in ((alike, ["a/1.png", "b/1.png"]), (others, ["1.png", "2.png"])):
        figure = draw_sheet(dict.fromkeys(files, (image, shares)), ["one", "two"], 2)
        assert [axes.get_xlabel() for axes in figure.axes[:2]] == shown


def test_names_of_own_classes_and_numbers_of_an_older_checkpoint(tmp_path, capsys):
    run = train(tmp_path / "runs", own_images, "--sample", "--net", "softmax", "--max_epochs", "1")
    save(shapes().test_images[:3], tmp_path / "new")
    rows = call(tmp_path, run, tmp_path / "new")
    assert list(rows[0])[3:] == [f"p({name})" for name in SHAPES]
    older = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    del older["hyper_parameters"]["classes"], older["datamodule_hyper_parameters"]
    torch.save(older, tmp_path / "older.ckpt")
    numbers = call(tmp_path, tmp_path / "older.ckpt", tmp_path / "new")
    assert [SHAPES[int(row["label"])] for row in numbers] == [row["label"] for row in rows]
    out = capsys.readouterr().out
    assert "3 predictions by softmax" in out
    assert all(row["label"] in out for row in rows)


def refusal(capsys, *flags):
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        cli(predict.main, None, [*map(str, flags)])
    assert stop.value.code == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line


def test_bad_files_are_one_line_or_left_out(tmp_path, capsys, shape_run):
    save(shapes().test_images[:3], tmp_path / "mixed")
    (tmp_path / "mixed" / "001.png").write_bytes((tmp_path / "mixed" / "001.png").read_bytes()[:200])
    (tmp_path / "mixed" / "labels.txt").write_text("cat\n")
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "labels.txt").write_text("cat\n")
    output = ["--output", tmp_path / "p.csv"]
    line = refusal(capsys, shape_run, tmp_path / "mixed", *output)
    assert all(part in line for part in ("001.png", "labels.txt (no image of a known format)", "--skip_bad"))
    assert "no files in this folder" in refusal(capsys, shape_run, tmp_path / "empty", *output)
    assert "labels.txt" in refusal(capsys, shape_run, tmp_path / "text", "--skip_bad", *output)
    assert "nothing.png" in refusal(capsys, shape_run, tmp_path / "nothing.png", "--skip_bad", *output)
    assert not (tmp_path / "p.csv").exists()
    rows = call(tmp_path, shape_run, tmp_path / "mixed", "--skip_bad")
    assert [row["file"][-7:] for row in rows] == ["000.png", "002.png"]
    assert "001.png" in capsys.readouterr().out


def test_nothing_is_overwritten_and_mistaken_flags_are_one_line(tmp_path, capsys, shape_run):
    save(shapes().test_images[:1], tmp_path / "new")
    (tmp_path / "there.png").write_text("mine")
    start = (shape_run, tmp_path / "new", "--output")
    assert "there.png" in refusal(capsys, *start, tmp_path / "there.csv")
    assert (tmp_path / "there.png").read_text() == "mine"
    assert "name of the sheet" in refusal(capsys, *start, tmp_path / "other.png")
    assert "no folder" in refusal(capsys, *start, tmp_path / "none" / "p.csv")
    assert "did you mean auto?" in refusal(capsys, *start, tmp_path / "p.csv", "--invert", "aut")
    run = train(tmp_path / "runs", table, "--sample", "--net", "linear", "--max_epochs", "1", "--folds", "0")
    assert "a Regressor, not a classifier of images" in refusal(
        capsys, run, tmp_path / "new", *start[2:], tmp_path / "p.csv"
    )
    assert "no checkpoint" in refusal(capsys, tmp_path / "new", tmp_path / "new", *start[2:], tmp_path / "p.csv")


def test_second_call_writes_beside_the_first_and_touches_nothing_of_it(tmp_path, digit_run, monkeypatch, capsys):
    save(digits().test_images[:3], tmp_path / "scans")
    monkeypatch.chdir(tmp_path)
    cli(predict.main, None, [str(digit_run), "scans"])
    first = {name: (tmp_path / name).read_bytes() for name in ("predictions.csv", "predictions.png")}
    (tmp_path / "predictions-2.png").write_text("mine")  # so that the next number is 3
    cli(predict.main, None, [str(digit_run), "scans"])
    assert "3 predictions by mlp: predictions-3.csv, predictions-3.png" in capsys.readouterr().out
    assert (tmp_path / "predictions-3.csv").read_bytes() == first["predictions.csv"]
    assert {name: (tmp_path / name).read_bytes() for name in first} == first
    cli(predict.main, None, [str(digit_run), "scans", "--force"])  # the first ones again
    assert not (tmp_path / "predictions-4.csv").exists()


@pytest.fixture(scope="module")
def conv_run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("conv"), mnist, "--sample", "--net", "lenet5", "--max_epochs", "1", *DRAWN)


def test_explained_images_have_a_sheet_of_maps_and_the_same_table(tmp_path, conv_run):
    save(digits().test_images[:30], tmp_path / "digits")
    plain = call(tmp_path, conv_run, tmp_path / "digits")
    assert not (tmp_path / "predictions_why.png").exists()
    assert call(tmp_path, conv_run, tmp_path / "digits", "--explain") == plain
    width, height = Image.open(tmp_path / "predictions_why.png").size
    assert width == 960 and height > 960  # eight rows of three strips
    assert (conv_run / "figures" / "why.png").exists()


def test_nets_without_maps_are_refused_before_anything_is_written(tmp_path, digit_run, refusal, capsys):
    save(digits().test_images[:2], tmp_path / "digits")
    line = refusal(predict.main, str(digit_run), str(tmp_path / "digits"), "--explain")
    assert line == "error: --explain: net mlp makes no feature maps by convolutions"
    assert not list(tmp_path.glob("predictions*"))
    assert not (digit_run / "figures" / "why.png").exists()
