"""Predictions for new rows of a table: all probabilities, and a warning if rows are unlike those of the training."""

import json
import re

import numpy as np
import pandas as pd
import pytest
import torch

from datamodules.csv_files import read_csv
from datamodules.csv_table import CsvTable
from datamodules.tables import Table, check_columns
from experiments import evaluate, predict_table, table
from harness.command_line.cli import cli
from lit_modules import RowClassifier

COUNT = 60
QUICK = [
    *("--net", "linear", "--accelerator", "cpu", "--max_epochs", "2", "--enable_progress_bar", "false"),
    *("--folds", "0", "--batch_size", "64"),
]


def homes():
    """Rows without a gap but in `floor`; `town` has rare values."""
    rng = np.random.default_rng(0)
    return pd.DataFrame({
        "number": [f"{row:03}" for row in range(COUNT)],
        "area": rng.integers(50, 200, COUNT).astype(str),
        "floor": ["NA" if row % 4 == 0 else str(row % 4) for row in range(COUNT)],
        "town": ["ABC"[row % 3] if row % 10 else f"village {row // 20}" for row in range(COUNT)],
        "heating": ["gas" if row % 2 else "" for row in range(COUNT)],
        "size": ["SML"[row % 3] for row in range(COUNT)],
        "line": np.where(rng.random(COUNT) > 0.5, "north", "south"),
        "let": "no",
    })  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The run of a linear net that tells `line`, north or south."""
    folder = tmp_path_factory.mktemp("homes")
    homes().to_csv(folder / "homes.csv", index=False)
    flags = ["--csv", str(folder / "homes.csv"), "--target", "line", "--task", "classification", "--drop", "[let]"]
    ordinals = ["--ordinals", "{size: [S, M, L]}", "--id_column", "number"]
    cli(table.main, table.RECIPES, [*flags, *ordinals, *QUICK, "--pictures", "false", "--run_dir", str(folder)])
    (run,) = (folder / "table").iterdir()
    return run


def predict(run, frame, folder, capsys):
    """The file that it writes, and the warnings."""
    frame.to_csv(folder / "new.csv", index=False)
    cli(predict_table.main, None, [str(run), str(folder / "new.csv"), "--output", str(folder / "said.csv")])
    lines = capsys.readouterr().err.splitlines()
    return pd.read_csv(folder / "said.csv", dtype={"number": str}), [line for line in lines if "warning: " in line]


def test_all_classes_have_their_probability(trained, tmp_path, capsys):
    said, warnings = predict(trained, homes(), tmp_path, capsys)
    assert list(said) == ["number", "line", "probability", "p(north)", "p(south)"]
    assert said["number"].tolist() == homes()["number"].tolist()
    assert not warnings  # these are the rows of the training
    data = CsvTable(
        str(trained.parents[1] / "homes.csv"), "line", "classification", id_column="number", drop=("let",),
        ordinals={"size": ["S", "M", "L"]}, scale="standard",
    )  # fmt: skip
    data.setup()
    model = RowClassifier.load_from_checkpoint(trained / "checkpoints" / "best.ckpt").eval()
    wanted = torch.softmax(model.net(torch.from_numpy(data.rows)).double(), 1).detach().numpy()
    np.testing.assert_allclose(said[["p(north)", "p(south)"]], wanted, rtol=1e-5)
    threshold = json.loads((trained / "metrics.json").read_text())["val/threshold"]  # which decides, not a half
    place = (wanted[:, 1] >= threshold).astype(int)
    np.testing.assert_allclose(said["probability"], np.take_along_axis(wanted, place[:, None], 1)[:, 0], rtol=1e-5)
    assert said["line"].tolist() == [("north", "south")[one] for one in place]


def test_lines_stand_for_ids_that_are_not_there_and_no_name_is_there_twice(trained, tmp_path, capsys):
    said, _ = predict(trained, homes().drop(columns=["number", "let", "line"]), tmp_path, capsys)
    assert list(said) == ["line", "line_", "probability", "p(north)", "p(south)"]
    assert said["line"].tolist() == list(range(2, COUNT + 2))
    assert set(said["line_"]) <= {"north", "south"}


def spoilt(column, rows, value):
    frame = homes()
    frame.loc[rows, column] = value
    return frame


def test_table_is_not_written_over(trained, tmp_path, refusal):
    homes().to_csv(tmp_path / "new.csv", index=False)
    before = (tmp_path / "new.csv").read_bytes()
    files = [str(tmp_path / "new.csv"), "--output", str(tmp_path / "." / "new.csv"), "--force"]
    assert "new.csv: is the table to predict" in refusal(predict_table.main, str(trained), *files)
    assert (tmp_path / "new.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("frame", "parts"),
    [
        (spoilt("area", [5, 8], ""), ["column 'area'", "2 values missing", "line 7", "median"]),
        (spoilt("area", [0], "NaN"), ["column 'area'", "1 value missing", "'NaN'", "line 2"]),
        (spoilt("town", [9], "Atlantis"), ["column 'town'", "1 value", "not seen", "'Atlantis'", "line 11", "rare"]),
        (spoilt("town", [1, 2, 3], "NA"), ["column 'town'", "3 values missing", "'NA'", "line 3", "rare"]),
        (
            spoilt("heating", [7], "coal"),
            ["column 'heating'", "not seen", "'coal'", "line 9", "none of the categories"],
        ),
        (spoilt("size", [3], "XL"), ["column 'size'", "none of its levels", "'XL'", "line 5"]),
        (spoilt("size", [3], ""), ["column 'size'", "missing", "line 5"]),
    ],
)
def test_what_no_training_row_had_is_warned_of(trained, tmp_path, capsys, frame, parts):
    said, warnings = predict(trained, frame, tmp_path, capsys)
    assert len(said) == COUNT
    assert all(part in warnings[0] for part in ["new.csv", *parts]), warnings
    # A level that there is not is a missing value too, but is named once.
    assert len(warnings) == 1


@pytest.mark.parametrize(
    "frame", [spoilt("floor", [1], ""), spoilt("heating", [1], ""), spoilt("town", [1], "village 2")]
)
def test_what_training_rows_had_is_no_surprise(trained, tmp_path, capsys, frame):
    assert predict(trained, frame, tmp_path, capsys)[1] == []


def test_row_of_nothing_is_warned_of(trained, tmp_path, capsys):
    frame = spoilt(["area", "floor", "town", "heating", "size"], [4, 9], "")
    _, warnings = predict(trained, frame, tmp_path, capsys)
    assert "2 rows have no value in any feature, the first in line 6" in warnings[-1]
    assert [re.search(r"column '(\w+)'", line)[1] for line in warnings[:-1]] == ["area", "size", "town"]


def test_surprises_of_all_folds_are_told_once(trained, tmp_path, capsys):
    for fold in range(2):
        (tmp_path / "run" / f"fold{fold}").mkdir(parents=True)
        (tmp_path / "run" / f"fold{fold}" / "checkpoints").symlink_to(trained / "checkpoints")
    (tmp_path / "run" / "metrics.json").touch()  # all folds have ended
    said, warnings = predict(tmp_path / "run", spoilt("town", [9], "Atlantis"), tmp_path, capsys)
    assert len(said) == COUNT
    assert len(warnings) == 1


def test_checkpoint_of_before_predicts_and_is_evaluated(trained, tmp_path, capsys):
    """One that knows neither its rare categories nor the newer options of a table."""
    checkpoint = torch.load(trained / "checkpoints" / "best.ckpt", weights_only=True)
    del checkpoint["hyper_parameters"]["preprocessing"]["rare"]
    del checkpoint["datamodule_hyper_parameters"]["similar_labels"]
    torch.save(checkpoint, tmp_path / "old.ckpt")
    new, _ = predict(trained, homes(), tmp_path, capsys)
    (tmp_path / "said.csv").unlink()
    old, warnings = predict(tmp_path / "old.ckpt", homes(), tmp_path, capsys)
    probabilities = ["number", "p(north)", "p(south)"]  # the file alone has no threshold, which is in metrics.json
    pd.testing.assert_frame_equal(old[probabilities], new[probabilities])
    (warning,) = warnings
    assert "column 'town'" in warning
    assert "or seldom" in warning  # it does not know
    metrics = json.loads((trained / "metrics.json").read_text())
    figures = cli(evaluate.main, None, [str(tmp_path / "old.ckpt"), "--accelerator", "cpu"])
    assert figures["test/loss"] == metrics["test/loss"]


@pytest.mark.parametrize(
    ("missing", "given", "hint"),
    [
        ("area", "Area", "column 6, 'Area'"),
        ("area", "aera", "column 6, 'aera'"),
        ("line_", "x", ""),  # near the target alone, which is something else
        ("age", "name", ""),
        ("area", "year", ""),
    ],
)
def test_hints_name_only_columns_that_may_be_meant(missing, given, hint):
    cells = homes().drop(columns="area").rename(columns={"let": given})
    with pytest.raises(ValueError, match=f"column '{missing}' is missing") as error:
        check_columns(Table("new.csv", cells.drop(columns="town")), [missing], ["line", "number"])
    assert str(error.value).partition("; is it ")[2] == (hint and f"{hint}?")


def test_hint_for_a_mistyped_name_is_any_other_column(tmp_path):
    homes().to_csv(tmp_path / "homes.csv", index=False)
    with pytest.raises(ValueError, match=r"'Lines' is missing; is it column 7, 'line'\?"):
        check_columns(read_csv(tmp_path / "homes.csv"), ["Lines"], None)


def test_second_call_writes_beside_the_first(tmp_path, trained, monkeypatch):
    homes().head(3).to_csv(tmp_path / "rows.csv", index=False)
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        cli(predict_table.main, None, [str(trained), "rows.csv"])
    assert sorted(path.name for path in tmp_path.glob("pred*")) == ["predictions-2.csv", "predictions.csv"]
    assert (tmp_path / "predictions.csv").read_bytes() == (tmp_path / "predictions-2.csv").read_bytes()


def test_table_as_it_comes_from_the_command_line_to_its_predictions(tmp_path, capsys):
    rng, days = np.random.default_rng(0), pd.date_range("2020-01-01", periods=COUNT, freq="5D")
    frame = pd.DataFrame({
        "day": days.strftime("%d/%m/%Y"),
        "size": [f"{n},{n % 9}" for n in rng.integers(9, 99, COUNT)],
        "town": rng.choice(["A", "B", "gone"], COUNT), "name": [f"{n}x{n}" for n in range(COUNT)],
        "price": [f"{n:,} €".replace(",", ".") for n in rng.integers(10_000, 99_000, COUNT)],
    })  # fmt: skip
    frame.loc[5, "price"] = "?"
    frame.to_csv(tmp_path / "table.csv", index=False, sep=";", encoding="utf-16")
    flags = ["--csv", str(tmp_path / "table.csv"), "--target", "price", "--missing", "gone,?", "--decimal", ","]
    flags += ["--sep", ";", "--encoding", "utf-16", "--dates.day", "%d/%m/%Y", "--drop_missing_target", "true"]
    cli(table.main, table.RECIPES, [*flags, *QUICK, "--pictures", "false", "--run_dir", str(tmp_path)])
    (run,) = (tmp_path / "table").iterdir()
    report = pd.read_csv(run / "columns.csv", index_col="column")
    assert report["kind"].fillna("").to_dict() == {
        "day": "date %d/%m/%Y", "size": "decimal comma", "town": "category", "name": "", "price": "number",
    }  # fmt: skip
    assert report.loc["town", "missing"] == pytest.approx((frame["town"].drop(5) == "gone").mean(), abs=1e-4)
    plain = frame.assign(size=frame["size"].str.replace(",", "."), day=days.strftime("%Y-%m-%d")).drop(columns="price")
    said, _ = predict(run, plain, tmp_path, capsys)
    (tmp_path / "said.csv").unlink()
    turned, warnings = predict(run, plain.assign(more=1)[["more", *plain]][::-1], tmp_path, capsys)
    assert warnings[0].endswith("new.csv is read with columns separated by commas")  # the training's had semicolons
    assert "column 'more' was not there in training; ignored" in warnings[1]
    np.testing.assert_array_equal(turned["price"][::-1], said["price"])
    assert said["price"].between(1_000, 200_000).all()
