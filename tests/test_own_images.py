"""own_images.py on a user's folder: files that cannot be read, one line for each mistake, and a training."""

import json
import os

import pytest
from photos import photos, ready, save, snapshot, text
from PIL import Image

from experiments import evaluate, own_images, robustness
from harness.command_line.cli import cli

QUICK = ["--net", "softmax", "--max_epochs", "1", "--accelerator", "cpu", "--pictures", "false"]


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
    (root / "notes").mkdir()  # else these would be the classes


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
        (single_images, [], ["no test images", "hold out"]),
        (nothing, ["--image_size", "8"], ["image_size 8"]),
        (nothing, ["--val_size", "9"], ["val_size 9: takes 9 of 10", "keep one"]),
        (nothing, ["--val_size", "10"], ["val_size 10", "10 training images"]),
        (nothing, ["--skip_bat"], ["--skip_bat", "did you mean --skip_bad"]),
        (nothing, ["--delta", "3"], ["--delta 3: is of --loss huber, not ce"]),
    ],
)
def test_mistake_is_one_line_and_costs_the_user_nothing(tmp_path, refusal, spoil, flags, named):
    root = photos(tmp_path / "photos", ant=6, bee=6)
    spoil(root)
    before = snapshot(root)
    line = refusal(own_images.main, "--data_dir", str(root), *QUICK, *flags, recipes=own_images.RECIPES)
    assert all(part in line for part in named), line
    assert snapshot(root) == before


def run(tmp_path, *flags):
    cli(own_images.main, own_images.RECIPES, [*QUICK, "--run_dir", str(tmp_path / "runs"), *flags])
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


def test_folder_of_other_classes_is_refused_for_its_figures(tmp_path, refusal):
    flags = ["--net", "softmax", "--image_size", "20", "--augment", "", "--data_dir"]
    run(tmp_path, *flags, str(photos(tmp_path / "photos", ant=12, bee=12, cow=12)))
    (trained,) = tmp_path.glob("runs/own_images/*")
    others = photos(tmp_path / "others", bee=12, cow=12, dog=12)
    for main in (evaluate.main, robustness.main):
        assert "says ant where own_images has bee" in refusal(main, str(trained), "--data_dir", str(others))


def test_sample_needs_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(tmp_path / "runs", "--sample", "--limit_train_batches", "2", "--augment", "")["test/samples"] == 500
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


@pytest.mark.parametrize("flags", [["--data_dir", "x"], ["--image_size", "96"], ["--fit", "pad"], ["--skip_bad"]])
def test_flags_of_a_folder_are_not_for_the_sample(refusal, flags):
    said = refusal(own_images.main, "--sample", *flags, recipes=own_images.RECIPES)
    assert said.startswith(f"error: {flags[0]} ") and "--sample has images of its own" in said
