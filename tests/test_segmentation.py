"""segmentation.py as a whole: a user's folder, the tools on its checkpoints, resuming, a line for each mistake."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from test_masks import plots, save

from datamodules.mask_files import Pair, read_pairs
from experiments import evaluate, export, finetune, mnist, predict, segmentation
from harness.command_line.cli import cli
from harness.tasks import mask_prediction
from lit_modules.segmenter import Segmenter

ROOT = Path(__file__).parents[1]
QUICK = ["--accelerator", "cpu", "--enable_progress_bar", "false", "--max_epochs", "2", "--lr", "0.02"]
UNET = ["--net", "unet", "--net_args.widths", "[4,8]", "--batch_size", "4", "--val_size", "3"]


def train(folder, *flags):
    size = [] if "--sample" in flags else ["--image_size", "16"]
    cli(segmentation.main, segmentation.RECIPES, [*QUICK, *UNET, *size, *flags, "--run_dir", str(folder)])
    (run,) = folder.glob("segmentation/*")
    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = plots(tmp_path_factory.mktemp("plots"), count=13, values=(0, 1, 2))
    (root / "classes.txt").write_text("soil\nmaize\nweed\n")
    return root


@pytest.fixture(scope="module")
def run(tmp_path_factory, folder):
    return train(tmp_path_factory.mktemp("runs"), "--data_dir", str(folder))


@pytest.fixture(scope="module")
def binary_run(tmp_path_factory, folder):
    flags = ["--binary", "--pictures", "false", "--threshold", "0.4", "--dice", "0"]
    return train(tmp_path_factory.mktemp("runs"), "--data_dir", str(folder), *flags)


def metrics_of(run):
    return json.loads((run / "metrics.json").read_text())


def model_of(run):
    return Segmenter.load_from_checkpoint(run / "checkpoints" / "best.ckpt", map_location="cpu").eval()


def masks_of(run, images):
    model = model_of(run)
    with torch.no_grad():
        return model.classify(model(torch.from_numpy(images).permute(0, 3, 1, 2) / 255)).numpy()


def test_run_has_its_figures_and_pictures(run):
    metrics = metrics_of(run)
    assert metrics["test/samples"] == 1
    assert {"test/iou", "test/dice", "test/acc", "test/loss", "val/iou"} <= metrics.keys()
    drawn = {path.stem for path in run.glob("figures/*.png")}
    assert drawn == {"learning_curves", "segmented", "worst", "confusion", "augmented"}


@pytest.mark.parametrize("which", ["run", "binary_run"])
def test_evaluation_of_the_checkpoint_gives_the_figures_of_the_run(request, which):
    run = request.getfixturevalue(which)
    wanted = {name: value for name, value in metrics_of(run).items() if name.startswith(("val/", "test/"))}
    assert cli(evaluate.main, None, [str(run), "--accelerator", "cpu"]) == wanted


@pytest.mark.parametrize("which", ["run", pytest.param("binary_run", marks=pytest.mark.slow)])
def test_onnx_file_gives_the_same_masks(request, tmp_path, which, capsys):
    run, images = request.getfixturevalue(which), np.random.default_rng(0).integers(256, size=(9, 16, 16, 3))
    images = images.astype(np.uint8)
    cli(export.main, None, [str(run), "--output", str(tmp_path / "net.onnx")])
    assert "the mask is the same for 1\n" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    masks, logits = session.run(None, {"images": images})
    assert masks.dtype == np.uint8 and len(np.unique(masks)) > 1
    assert np.array_equal(masks, masks_of(run, images))
    assert logits.shape == (9, 1 if which == "binary_run" else 3, 16, 16)


@pytest.mark.parametrize("which", ["run", "binary_run"])
def test_predicted_masks_have_the_sizes_of_a_users_files(request, tmp_path, which):
    run, rng = request.getfixturevalue(which), np.random.default_rng(0)
    images = [rng.integers(256, size=(*size, 3), dtype=np.uint8) for size in [(16, 16), (40, 24)]]
    for name, image in zip(("same", "other"), images, strict=True):
        save(tmp_path / "photos" / f"{name}.png", image)
    call = [str(run), str(tmp_path / "photos"), "--output", str(tmp_path / "out.csv")]
    cli(predict.main, None, call)
    masks = {name: np.asarray(Image.open(tmp_path / "out" / f"{name}.png")) for name in ("same", "other")}
    white = 255 if which == "binary_run" else 1
    assert np.array_equal(masks["same"], white * masks_of(run, images[0][None])[0])
    assert masks["other"].shape == (40, 24)
    rows = list(csv.DictReader((tmp_path / "out.csv").open()))
    assert [row["file"] for row in rows] == [str(tmp_path / "photos" / f"{name}.png") for name in ("other", "same")]
    shares = [float(rows[1][f"share({name})"]) for name in model_of(run).names]
    wanted = np.bincount(masks["same"].ravel(), minlength=256)[[0, 255] if which == "binary_run" else [0, 1, 2]] / 256
    assert shares == pytest.approx(list(wanted), abs=1e-6)
    assert Image.open(tmp_path / "out.png").width == 960


def test_predicted_masks_are_read_as_a_folders_own(tmp_path, folder, run):
    images = sorted((folder / "images").glob("*.png"))
    cli(predict.main, None, [str(run), str(folder / "images"), "--output", str(tmp_path / "masks.csv")])
    pairs = [Pair(image, tmp_path / "masks" / image.name) for image in images]
    pixels, masks = read_pairs(pairs, 16, 3)
    assert np.array_equal(masks, masks_of(run, pixels))


def test_resumed_run_ends_like_one_that_was_never_stopped(tmp_path, folder):
    flags = ["--data_dir", str(folder), "--augment", "flip,rotate:10,crop:2", "--pictures", "false"]
    flags += ["--lr_decay", "constant"]
    whole = train(tmp_path / "whole", *flags)
    part = train(tmp_path / "part", *flags, "--max_steps", "3")  # of 4, two in each epoch
    cli(segmentation.main, segmentation.RECIPES, ["--resume", str(part), "--max_steps", "-1"])
    states = [torch.load(each / "checkpoints" / "last.ckpt", weights_only=True) for each in (whole, part)]
    assert states[0]["global_step"] == states[1]["global_step"] == 4
    for name, weight in states[0]["state_dict"].items():
        assert torch.equal(weight, states[1]["state_dict"][name]), name
    figures = [
        {name: value for name, value in metrics_of(each).items() if name.startswith(("val/", "test/"))}
        for each in (whole, part)
    ]
    assert figures[0] == figures[1]


def no_mask(root):
    (root / "masks" / "03.png").unlink()


def other_size(root):
    save(root / "masks" / "03.png", np.zeros((20, 20)))


def unknown_value(root):
    save(root / "masks" / "03.png", np.full((20, 30), 7))


def colour(root):
    save(root / "masks" / "03.png", np.zeros((20, 30, 3)))


def not_a_mask(root):
    (root / "masks" / "03.png").write_text("not an image")


def class_too_many(root):
    plots(root, values=(0, 1))
    (root / "classes.txt").write_text("soil\nmaize\nweed\nstone\n")


def two_of_a_name(root):
    save(root / "images" / "03.jpg", np.zeros((20, 30, 3)))


def no_masks(root):
    (root / "masks").rename(root / "labels")


def nothing(root):
    pass


@pytest.mark.parametrize(
    ("spoil", "flags", "words"),
    [
        (no_mask, [], "images/03.png: has no mask {root}/masks/03.png"),
        (other_size, [], "images/03.png: its mask has 20 x 20 pixels, the image 30 x 20"),
        (unknown_value, [], "images/03.png: its mask has the value 7; the classes are numbered from 0 to 1"),
        (colour, [], "images/03.png: its mask is RGB; it has to be grey"),
        (not_a_mask, [], "images/03.png: no image of a known format"),
        (class_too_many, [], "class 'weed', number 2, is in no mask of the training split"),
        (two_of_a_name, [], "images/03.png: has the same name as {root}/images/03.jpg"),
        (no_masks, [], "masks: no files there"),
        (nothing, ["--classes", "[a]"], "classes: needs the names of 2 to 255 classes, each once, not a"),
        (nothing, ["--image_size", "20", "--net", "fcn", "--net_args", "null"], "multiples of 16, not 20 x 20"),
        (nothing, ["--image_size", "8"], "image_size 8: must be at least 16 pixels"),
        (nothing, ["--augment", "grow:8"], "augment grow: masks cannot follow it"),
        (nothing, ["--augment", "flip,randaugment"], "augment randaugment: masks cannot follow it"),
        (nothing, ["--net", "lenet5", "--net_args", "null"], "'lenet5': gives one class for the whole image"),
        (nothing, ["--classes", "[a,b,c]", "--binary", "--threshold", "2"], "threshold 2"),
        (nothing, ["--data_dir", "nowhere"], "nowhere/images: no files there"),
        (nothing, ["--sample"], "--sample has images of its own"),
    ],
)
def test_mistake_is_one_line(tmp_path, refusal, spoil, flags, words):
    root = plots(tmp_path / "plots")
    spoil(root)
    line = refusal(segmentation.main, "--data_dir", str(root), *QUICK, *UNET, *flags, recipes=segmentation.RECIPES)
    assert words.format(root=root) in line, line


@pytest.mark.parametrize("flags", [["--image_size", "32"], ["--classes", "[a,b]"]])
def test_flags_of_a_folder_are_not_for_the_sample(tmp_path, refusal, flags):
    said = refusal(segmentation.main, *QUICK, "--run_dir", str(tmp_path), *flags, recipes=segmentation.RECIPES)
    assert f"{flags[0]} " in said and "--sample has images of its own" in said


def test_masks_that_ctrl_c_leaves_unfinished_are_in_nobodys_way(tmp_path, folder, run, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    call = [str(run), str(folder / "images"), "--output", str(tmp_path / "masks.csv")]
    for place in ("_save", "write_predictions"):
        monkeypatch.setattr(mask_prediction, place, interrupted)
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            cli(predict.main, None, call)
        assert not [*tmp_path.iterdir()]
        monkeypatch.undo()
    cli(predict.main, None, call)
    assert (tmp_path / "masks.csv").exists() and (tmp_path / "masks").is_dir()


def test_tools_refuse_what_is_not_for_them(tmp_path, refusal, run):
    save(tmp_path / "a.png", np.zeros((16, 16, 3)))
    save(tmp_path / "more" / "a.jpg", np.zeros((16, 16, 3)))
    files = [str(tmp_path / "a.png"), str(tmp_path / "more")]
    assert "would have the same name" in refusal(predict.main, str(run), *files)
    assert "--invert" in refusal(predict.main, str(run), files[0], "--invert", "yes")
    (tmp_path / "bad").mkdir()
    for number in range(40):  # more than are read at a time
        save(tmp_path / "bad" / f"{number:02}.png", np.zeros((16, 16, 3)))
    (tmp_path / "bad" / "40.png").write_bytes(b"no image")
    call = [str(run), str(tmp_path / "bad"), "--output", str(tmp_path / "said.csv")]
    assert "--skip_bad" in refusal(predict.main, *call)
    assert not (tmp_path / "said").exists()
    cli(predict.main, None, [*call, "--skip_bad"])
    assert len(list((tmp_path / "said").iterdir())) == 40
    (tmp_path / "predictions").mkdir()
    assert "predictions: already exists" in refusal(predict.main, str(run), files[0])
    assert "holds a Segmenter" in refusal(evaluate.main, str(run), "--data", "mnist", "--sample", "true")
    assert "'segmentation': no such data" in refusal(finetune.main, str(run), "--data", "segmentation")
    assert "'unet': gives a class for each pixel" in refusal(mnist.main, "--sample", "--net", "unet")


@pytest.mark.slow
def test_doctor_finds_nothing_wrong_with_the_sample(capsys):
    flags = ["--doctor", "--accelerator", "cpu", "--net_args.widths", "[4,8]", "--batch_size", "64"]
    with pytest.raises(SystemExit):
        cli(segmentation.main, segmentation.RECIPES, flags)
    said = capsys.readouterr().out
    assert "duplicates" in said and "initial loss" in said and "learning rate" in said


@pytest.mark.slow
def test_two_processes_say_what_one_did(tmp_path):
    run = train(tmp_path, "--sample", "--limit_train_batches", "20", "--pictures", "false", "--val_size", "41")
    command = [sys.executable, "experiments/evaluate.py", str(run), "--accelerator", "cpu", "--devices", "2"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=True).stdout
    figures = metrics_of(run)
    for stage in ("val", "test"):
        loss, iou, dice, acc = (figures[f"{stage}/{name}"] for name in ("loss", "iou", "dice", "acc"))
        line = f"{stage:<10}{loss:>10.4f}{iou:>10.4f}{dice:>10.4f}{f'{acc:.2%}':>10}"
        assert line in said.splitlines()


@pytest.mark.slow
def test_unet_finds_the_shapes_of_the_sample_and_fcn_less_finely(tmp_path):
    ious = {}
    for net in ("unet", "fcn"):
        flags = ["--net", net, "--accelerator", "cpu", "--pictures", "false", "--run_dir", str(tmp_path / net)]
        cli(segmentation.main, segmentation.RECIPES, flags)
        (run,) = (tmp_path / net).glob("segmentation/*")
        ious[net] = metrics_of(run)["test/iou"]
    assert ious["unet"] >= 0.90
    assert ious["fcn"] < ious["unet"] - 0.02
