"""Names of folders and files with characters that shells, globs and libraries treat as special."""

import shutil
from pathlib import Path

import pytest
from photos import photos, save

from experiments import (
    compare,
    evaluate,
    export,
    finetune,
    from_scratch,
    house_prices,
    mnist,
    own_images,
    predict,
    predict_table,
    repeat,
    table,
)
from harness.command_line.cli import cli
from harness.command_line.paths import expand_home

QUICK = ["--max_epochs", "1", "--accelerator", "cpu", "--pictures", "false", "--enable_progress_bar", "false"]
FAST = [*QUICK, "--folds", "0"]
NAMES = ["r[1] *?{a,b}", "$HOME é ~x", "~", "a::b#c%20d"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with images, a table, and a run on each; it is copied to another name."""
    folder = tmp_path_factory.mktemp("plain")
    photos(folder / "images", ant=6, bee=6)
    rows = [f"{number},{number * number % 17}\n" for number in range(40)]
    (folder / "t.csv").write_text("x,y\n" + "".join(rows))
    run_dir = ["--run_dir", str(folder / "runs")]
    images = ["--data_dir", str(folder / "images"), "--image_size", "16", "--net", "mlp", "--net_args.widths", "[4]"]
    cli(own_images.main, own_images.RECIPES, [*images, *QUICK, *run_dir])
    rows = ["--csv", str(folder / "t.csv"), "--target", "y", "--net", "linear"]
    cli(table.main, table.RECIPES, [*rows, *FAST, *run_dir])
    return folder


@pytest.fixture(params=NAMES)
def place(request, trained, tmp_path, monkeypatch):
    """A copy under the name, relative to the working directory; the home directory is another, empty one."""
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("x", "expanded")
    shutil.copytree(trained, request.param)
    return f"./{request.param}"


def test_every_name_is_taken_as_it_is(place, tmp_path, capsys):
    (images,), (rows,) = (Path(place).glob(f"runs/{name}/*") for name in ("own_images", "table"))
    images, rows = (f"./{run}" for run in (images, rows))
    metrics = cli(evaluate.main, None, [images, f"--data_dir={place}/images", "--accelerator", "cpu"])
    assert metrics["test/samples"] == 2
    cli(predict.main, None, [images, f"{place}/images/train", f"--output={place}/labels.csv"])
    cli(predict_table.main, None, [rows, f"{place}/t.csv", f"--output={place}/numbers.csv"])
    assert len((tmp_path / place / "labels.csv").read_text().splitlines()) == 1 + 12
    assert len((tmp_path / place / "numbers.csv").read_text().splitlines()) == 1 + 40
    assert not [*(tmp_path / "home").iterdir()]
    assert {path.name for path in tmp_path.iterdir()} == {"home", Path(place).name}


def test_training_on_such_folders(place, tmp_path):
    (before,) = Path(place).glob("runs/own_images/*")
    flags = [f"--data_dir={place}/images", f"--init_from=./{before}", f"--run_dir={tmp_path / 'out'}", *QUICK]
    cli(own_images.main, own_images.RECIPES, [*flags, "--image_size=16", "--net=mlp", "--net_args.widths", "[4]"])
    flags = [f"--csv={place}/t.csv", "--target=y", "--net=linear", f"--run_dir={tmp_path / 'out'}", *FAST]
    cli(table.main, table.RECIPES, flags)
    assert len([*(tmp_path / "out").glob("*/*/metrics.json")]) == 2
    assert not [*(tmp_path / "home").iterdir()]


def test_tilde_is_the_home_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    flags = {
        "data_dir": "~/photos", "csv": "~", "files": ["~/a b", "./~", "a/~", "~no such user/x"], "run_dir": "$HOME/~",
        "target": "~", "init_from": None,
    }  # fmt: skip
    expand_home(flags)
    assert flags == {
        "data_dir": f"{tmp_path}/photos", "csv": f"{tmp_path}",
        "files": [f"{tmp_path}/a b", "./~", "a/~", "~no such user/x"], "run_dir": "$HOME/~",
        "target": "~", "init_from": None,
    }  # fmt: skip


def test_script_reads_below_the_home_directory(tmp_path, monkeypatch, refusal):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    save(tmp_path / "home" / "photos" / "train" / "ant" / "0.png")
    line = refusal(own_images.main, "--data_dir=~/photos")
    assert f"{tmp_path}/home/photos/train: need a folder for each of two or more classes, found only 'ant'" in line


TOO_LONG = "x" * 300  # the system refuses to look for it, in place of not finding it
REFUSED = {
    "data set": (mnist.main, f"--data_dir={TOO_LONG}"),
    "images": (own_images.main, f"--data_dir={TOO_LONG}"),
    "table": (table.main, f"--csv={TOO_LONG}", "--target=y"),
    "prices": (house_prices.main, f"--data_dir={TOO_LONG}"),
    "pickle": (from_scratch.main, f"--pickle={TOO_LONG}"),
    "run": (mnist.main, f"--resume={TOO_LONG}"),
    "weights": (finetune.main, TOO_LONG),
    "checkpoint": (evaluate.main, TOO_LONG),
    "checkpoint to export": (export.main, TOO_LONG),
    "rows' predictions": (predict_table.main, "run", "t.csv", f"--output={TOO_LONG}"),
    "files' predictions": (predict.main, "run", __file__, f"--output={TOO_LONG}.csv"),
    "comparison": (compare.main, "runs", f"--output={TOO_LONG}"),
    "runs": (compare.main, TOO_LONG),
    "script": (repeat.main, f"{TOO_LONG}.py"),
}


@pytest.mark.parametrize("command", REFUSED.values(), ids=REFUSED)
def test_name_that_the_system_refuses_is_one_line(refusal, command):
    main, *flags = command
    line = refusal(main, *flags)
    assert TOO_LONG in line and "File name too long" in line
