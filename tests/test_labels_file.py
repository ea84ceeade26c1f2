"""Images whose classes are in a table, or that lie in flat class folders; what is in a square; HEIC."""

import json
import sys
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from photos import COLOUR, colours, photos, ready, save
from PIL import Image

from basics.errors import InputError, MissingFileError
from datamodules import decode, open_image
from datamodules.decode import decode_files
from datamodules.folder import ImageFolder
from datamodules.labels_file import list_labelled
from datamodules.listing import list_images
from datamodules.squares import FITS, Square
from experiments import finetune, own_images, predict
from harness.command_line.cli import cli
from harness.runs.checkpoints import read_checkpoint
from harness.tasks import image_prediction


def table(root, *rows):
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    return str(root / "labels.csv")


@pytest.fixture
def scattered(tmp_path):
    """Twelve images in folders that say nothing: those of even numbers are of class even."""
    for number in range(12):
        save(tmp_path / f"{number % 3}" / f"{number}.png", (60 * (number % 2), number, 255 - number))
    return tmp_path


def names(number):
    return f"{number % 3}/{number}.png,{'odd' if number % 2 else 'even'}"


def test_table_says_the_class_of_each_image(scattered):
    data = ready(scattered, labels=table(scattered, "file,label", *map(names, range(11, -1, -1))))
    assert data.classes == ("even", "odd")
    images = np.concatenate([data.arrays.train_images, data.arrays.test_images])
    labels = np.concatenate([data.arrays.train_labels, data.arrays.test_labels])
    assert (images[:, 0, 0, 0] == 60 * labels).all()
    assert set(colours(images).values()) == {1} and len(images) == 12
    assert Counter(data.arrays.test_labels.tolist()) == {0: 1, 1: 1}  # a tenth of six, and at least one
    assert "labels.csv names no test images: a tenth of each class is the test set" in data.describe()


def test_table_says_the_split_of_each_image(scattered):
    splits = ["train"] * 6 + ["valid", "Val", "validation"] + ["test"] * 3
    rows = [f"{names(number)},{split}" for number, split in enumerate(splits)]
    data = ready(scattered, labels=table(scattered, "filename,species,split", *rows))
    assert data.arrays.train_images[data.train_indices, 0, 0, 1].tolist() == [*range(6)]
    assert data.arrays.train_images[data.val_indices, 0, 0, 1].tolist() == [6, 7, 8]
    assert data.arrays.test_images[:, 0, 0, 1].tolist() == [9, 10, 11]


def test_changed_label_or_split_makes_other_arrays(scattered):
    rows = [names(number) for number in range(12)]
    before = list_labelled(scattered, table(scattered, "file,label", *rows))
    same = list_labelled(scattered, table(scattered, "path,class", *rows))
    other = list_labelled(scattered, table(scattered, "file,label", *rows[:-1], rows[-1].replace("odd", "even")))
    assert before.fingerprint == same.fingerprint != other.fingerprint


def test_table_may_be_in_the_folder_use_other_names_and_leave_endings_out(scattered):
    table(scattered, "what;which one", "0/0;a", "1/1;b", "2/2.png;a")
    listing = list_labelled(scattered, "labels.csv")
    assert listing.files == {"0/0.png": 0, "1/1.png": 1, "2/2.png": 0}


def test_columns_are_known_in_capital_letters_too(scattered):
    rows = [f"{names(number)},{'test' if number > 8 else 'train'}" for number in range(12)]
    listing = list_labelled(scattered, table(scattered, "File,Label,Split", *rows))
    assert {split: len(files) for split, files in listing.splits.items()} == {"train": 9, "val": 0, "test": 3}


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["file,label", "0/0.png,a", "none.png,b"], "names files that are not in .*: 1, none.png"),
        (["file,label", "0/0.png,a", "1/1.png,"], "line 3, column 'label': '' is missing; each image needs a label"),
        (["file,label", "0/0.png,a", "1/1.png,NA", "2/2.png,nan"], "2 faults: line 3, column 'label': 'NA' is missing"),
        (["file,label", "0/0.png,cat", "1/1.png,dog", "2/2.png,Cat"], "line 4, .* 'Cat' differs from 'cat' in case"),
        (["file,label", "0/0.png,a", "./0/0.png,b"], "0/0.png is both 'a' and 'b'"),
        (["file,label", "0/0.png,a", "1/1.png,a"], "need two or more classes, found a"),
        (["file,label", "0/0.png,a", "0/0.png,b"], "0/0.png is both 'a' and 'b'"),
        (["file,label,split", "0/0.png,a,train", "1/1.png,b,test"], "class 'b' has no image for training"),
        (["file,label,split", "0/0.png,a,train", "0/0.png,a,test"], "0/0.png is in two splits, train and test"),
        (["file,label,split", "0/0.png,a,train", "1/../0/0,a,test"], "0/0.png is in two splits, train and test"),
        (["file,label,split", "0/0.png,a,train", "1/1.png,b,later"], "line 3: split 'later': must be train, val or"),
        (["file,size,weight", "0/0.png,1,2", "1/1.png,2,3"], "needs the columns file and label"),
    ],
)
def test_fault_of_a_table_is_named(scattered, rows, said):
    with pytest.raises(InputError, match=f"labels.csv.*{said}"):
        list_labelled(scattered, table(scattered, *rows))


def test_image_named_by_its_whole_path_is_the_one_in_the_folder(scattered):
    listing = list_labelled(scattered, table(scattered, "file,label", f"{scattered}/0/0.png,a", "0//0.png,a", "1/1,b"))
    assert listing.files == {"0/0.png": 0, "1/1.png": 1}


def test_similar_labels_of_images_are_one_class_or_several_as_asked(scattered):
    labels = ["cat", "cat.", "Cat", "cat", "dog", "dog"] * 2
    path = table(scattered, "file,label", *(f"{n % 3}/{n}.png,{label}" for n, label in enumerate(labels)))
    assert list_labelled(scattered, path, similar_labels="keep").classes == ("Cat", "cat", "cat.", "dog")
    data = ready(scattered, labels=path, similar_labels="merge")
    counts = Counter([*data.arrays.train_labels.tolist(), *data.arrays.test_labels.tolist()])
    assert data.classes == ("cat", "dog") and counts == {0: 8, 1: 4}
    assert "label 'Cat' is taken as 'cat'" in data.describe()
    with pytest.raises(InputError, match="similar_labels merge: is for --labels"):
        ImageFolder(str(scattered), similar_labels="merge")


def test_way_out_is_one_that_a_table_of_labels_has(scattered):
    labels = table(scattered, "file,label", *(names(number) for number in range(12)))
    with pytest.raises(InputError, match=r"would part groups; name its images in a column split of .*labels.csv"):
        ready(scattered, labels=labels, group="folder")
    with pytest.raises(InputError, match=r"add images, or name its images in a column split of .*labels.csv"):
        ready(scattered, labels=labels, val_size=9)
    for number in range(0, 12, 2):
        (scattered / f"{number % 3}" / f"{number}.png").write_text("no image")
    with pytest.raises(InputError, match=f"{scattered}, class 'even': no readable image in this class"):
        ready(scattered, labels=labels, skip_bad=True)


def test_missing_table_is_named(scattered, refusal):
    flags = ["--data_dir", str(scattered), "--labels", "none.csv", "--net", "softmax"]
    assert "none.csv: no such file" in refusal(own_images.main, *flags, recipes=own_images.RECIPES)


def test_finetuning_takes_the_table_and_the_fit_of_own_images(scattered, tmp_path, refusal):
    photos(tmp_path / "photos", ant=6, bee=6)
    quick = ["--image_size", "16", "--pictures", "false", "--max_epochs", "1", "--accelerator", "cpu"]
    source = ["--data_dir", str(tmp_path / "photos"), "--net", "mlp", "--net_args.widths", "[4]"]
    cli(own_images.main, own_images.RECIPES, [*source, *quick, "--run_dir", str(tmp_path / "source")])
    (trained,) = tmp_path.glob("source/own_images/*")
    labels = table(scattered, "file,label,size", *(f"{names(number)},1" for number in range(12)))
    flags = ["--data", "own_images", "--data_dir", str(scattered), "--labels", labels, "--fit", "pad", *quick]
    cli(finetune.main, None, [str(trained), *flags, "--target", "label", "--run_dir", str(tmp_path / "runs")])
    (run,) = tmp_path.glob("runs/own_images/*")
    read = read_checkpoint(run / "checkpoints" / "best.ckpt").content
    assert read["hyper_parameters"]["classes"] == ["even", "odd"]
    assert {name: read["datamodule_hyper_parameters"][name] for name in ("fit", "labels", "target")} == {
        "fit": "pad",
        "labels": labels,
        "target": "label",
    }
    line = refusal(finetune.main, str(trained), "--data", "mnist", "--labels", labels)
    assert "--labels: for --data own_images only, not for mnist" in line
    line = refusal(finetune.main, str(trained), "--data", "mnist", "--image_size", "32", "--skip_bad")
    assert "--image_size, --skip_bad: for --data own_images only, not for mnist" in line


# Without a train/.


def test_flat_class_folders_are_split_like_those_of_train(tmp_path):
    photos(tmp_path / "a", ant=12, bee=30)
    (tmp_path / "a" / "train").rename(tmp_path / "flat")
    (tmp_path / "flat" / "notes.txt").write_text("not in a class")
    flat = ready(tmp_path / "flat", val_size=5)
    assert flat.classes == ("ant", "bee")
    assert Counter(flat.arrays.test_labels.tolist()) == {0: 1, 1: 3}
    assert len(flat.val_indices) == 5
    assert len(colours(np.concatenate([flat.arrays.train_images, flat.arrays.test_images]))) == 42
    assert f"there is no {tmp_path / 'flat' / 'test'}: a tenth of each class is the test set" in flat.describe()
    again = ready(tmp_path / "flat", val_size=5)  # the folder of arrays is no class
    assert again.folder == flat.folder


def test_folders_of_which_one_has_no_images_are_no_classes(tmp_path):
    photos(tmp_path, ant=3, bee=3)
    (tmp_path / "train" / "data").mkdir()
    (tmp_path / "train" / "data" / "x.npy").write_text("")
    with pytest.raises(MissingFileError, match=r"no folder train/ there; .* or all as .*<class>/\*\.jpg"):
        list_images(tmp_path / "train")


# What is in a square.


@pytest.fixture
def portrait(tmp_path):
    """Twice as high as wide: red above, green in the middle, blue below."""
    pixels = np.zeros((64, 32, 3), np.uint8)
    pixels[:16, :, 0] = pixels[16:48, :, 1] = pixels[48:, :, 2] = 255
    Image.fromarray(pixels).save(tmp_path / "a.png")
    return tmp_path / "a.png"


RED, GREEN, BLUE, BAR = [255, 0, 0], [0, 255, 0], [0, 0, 255], [128, 128, 128]


@pytest.mark.parametrize(
    ("fit", "column", "row"),
    [
        ("crop", [GREEN, GREEN, GREEN], [GREEN, GREEN, GREEN]),
        ("pad", [RED, GREEN, BLUE], [BAR, GREEN, BAR]),
        ("stretch", [RED, GREEN, BLUE], [GREEN, GREEN, GREEN]),
    ],
)
def test_head_and_feet_of_a_portrait_are_kept_if_asked_for(portrait, fit, column, row):
    image, _ = decode.decode(portrait, Square(16, fit))
    pixels = np.asarray(image)
    assert pixels.shape == (16, 16, 3)
    assert pixels[[1, 8, 14], 8].tolist() == column
    assert pixels[8, [1, 8, 14]].tolist() == row


def test_every_fit_has_its_arrays_and_prediction_uses_that_of_the_training(tmp_path, portrait, capsys):
    photos(tmp_path / "photos", ant=6, bee=6)
    folders = {fit: ready(tmp_path / "photos", fit=fit).folder.name for fit in FITS}
    assert len(set(folders.values())) == 3
    flags = ["--data_dir", str(tmp_path / "photos"), "--fit", "pad", "--image_size", "16", "--pictures", "false"]
    flags += ["--net", "softmax", "--max_epochs", "1", "--accelerator", "cpu", "--run_dir", str(tmp_path / "runs")]
    cli(own_images.main, own_images.RECIPES, flags)
    assert "the whole, between grey bars" in capsys.readouterr().out
    (run,) = tmp_path.glob("runs/own_images/*")
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            image_prediction, "decode", lambda path, square: seen.append(square) or decode.decode(path, square)
        )
        cli(predict.main, None, [str(run), str(portrait), "--output", str(tmp_path / "p.csv")])
    assert seen == [Square(16, "pad")]
    with pytest.raises(InputError, match="fit 'pat': no such fit; did you mean pad"):
        ready(tmp_path / "photos", fit="pat")


# Kinds and lists of files.


def test_heic_without_its_package_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    open_image._formats.cache_clear()
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))
    bad = decode_files([tmp_path / "a.heic"], 16).bad
    open_image._formats.cache_clear()
    assert bad == {0: "HEIC, which the package pillow-heif reads: pip install pillow-heif"}


def test_heic_is_read_where_its_package_is(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    open_image._formats.cache_clear()
    pillow_heif.register_heif_opener()
    save(tmp_path / "a.heic", size=(64, 64), format="HEIF", quality=95)
    images, bad, _ = decode_files([tmp_path / "a.heic"], 16)
    assert not bad
    assert abs(images.astype(int) - COLOUR).max() <= 4


def test_one_list_has_all_that_was_left_out_and_why(tmp_path):
    root = photos(tmp_path / "photos", ant=5, bee=5)
    (root / "train" / "ant" / "bad.jpg").write_text("not an image")
    (root / "train" / "loose.png").write_text("")
    save(root / "more" / "0.png")
    (root / "train" / "ant" / "all").symlink_to(root / "train")
    data = ready(root, skip_bad=True)
    assert json.loads((data.folder / "skipped.json").read_text()) == {
        "train/loose.png": "in no class folder",
        "train/ant/bad.jpg": "no image of a known format",
        "more": "not among the images",
        "train/ant/all": "a link; read already",
    }
    assert list(data.skipped) == ["train/loose.png", "train/ant/bad.jpg"]


def test_names_of_many_files_take_memory_in_proportion(tmp_path):
    def peak(count):
        for number in range(count):
            (tmp_path / f"{number}.png").touch()
        path = table(tmp_path, "file,label", *(f"{number}.png,{number % 2}" for number in range(count)))
        tracemalloc.start()
        list_labelled(tmp_path, path)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(1600) < 6 * peak(400)  # its fingerprint once had each name times all names


def test_sample_is_not_labelled_by_a_table():
    with pytest.raises(InputError, match=r"labels a\.csv: --sample has images of its own"):
        ImageFolder("photos", sample=True, labels="a.csv")
