"""Folds of an own table: figures, files and predictions are those of a loop with scikit-learn's splitters."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    mean_absolute_error,
    r2_score,
    roc_auc_score,
    root_mean_squared_error,
)
from sklearn.model_selection import KFold, StratifiedKFold

from datamodules.csv_table import CsvTable
from experiments import evaluate, predict_table, table
from harness.command_line.cli import cli
from harness.tasks import cross_validation, fold_report
from harness.tasks.table_sizes import suited

QUICK = [
    *("--net", "linear", "--accelerator", "cpu", "--enable_progress_bar", "false", "--pictures", "false"),
    *("--max_epochs", "2", "--batch_size", "16", "--jobs", "1", "--seed", "3", "--scale", "standard"),
    *("--folds", "0", "--test_size", "0", "--val_size", "0.1"),
]
COUNT, TESTED = 61, 20  # rows of the table, and of its test rows
TASKS = {"kind": ["--task", "classification"], "price": ["--log_target"]}
SPLITTERS = {"kind": StratifiedKFold(3, shuffle=True, random_state=4), "price": KFold(2, shuffle=True, random_state=4)}


def homes(count=COUNT + TESTED):
    """Rows of which one class is rare; the price follows from area and town."""
    rng = np.random.default_rng(0)
    area, town = rng.integers(50, 200, count), rng.integers(3, size=count)
    price = np.round(area * (town + 1) * np.exp(0.1 * rng.standard_normal(count)), 2)
    kind = np.where(np.arange(count) % 9 == 0, "castle", np.where(area + 40 * town > 170, "house", "hut"))
    frame = pd.DataFrame({"area": area, "town": np.array(list("ABC"))[town], "kind": kind, "price": price})
    frame.loc[5, "area"] = np.nan
    return frame


def of(target):
    """The homes with that column, and without the other target."""
    return homes().drop(columns="price" if target == "kind" else "kind")


def train(folder, frame, target, *flags):
    """The run of a table of that column, and its metrics."""
    folder.mkdir(exist_ok=True)
    frame.to_csv(folder / "homes.csv", index=False)
    what = ["--csv", str(folder / "homes.csv"), "--target", target, *TASKS[target]]
    cli(table.main, table.RECIPES, [*what, *QUICK, "--run_dir", str(folder), *flags])
    run = max((folder / "table").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    return run, json.loads((run / "metrics.json").read_text())


def said_by(run, rows, folder):
    """What predict_table.py writes for these rows."""
    rows.to_csv(folder / "rows.csv", index=False)
    cli(predict_table.main, None, [str(run), str(folder / "rows.csv"), "--output", str(folder / "said.csv"), "--force"])
    return pd.read_csv(folder / "said.csv")


@pytest.fixture(scope="module")
def cross_validated(tmp_path_factory):
    """For each target the run of some folds without validation, and of rows to test on, and its metrics."""
    runs = {}
    for target in TASKS:
        folder = tmp_path_factory.mktemp(target)
        folds = ["--folds", str(SPLITTERS[target].n_splits), "--fold_seed", "4", "--val_size", "0"]
        flags = [*folds, "--test_csv", str(folder / "tested.csv")]
        of(target)[COUNT:].to_csv(folder / "tested.csv", index=False)
        runs[target] = train(folder, of(target)[:COUNT], target, *flags)
    return runs


def figures_of(target, true, said):
    """By scikit-learn, from what predict_table.py wrote."""
    if target == "kind":
        classes = ["castle", "house", "hut"]
        probabilities = said[[f"p({name})" for name in classes]]
        return {
            "log_loss": log_loss(true, probabilities, labels=classes),
            "acc": accuracy_score(true, said["kind"]),
            "balanced_acc": balanced_accuracy_score(true, said["kind"]),
            "macro_f1": f1_score(true, said["kind"], average="macro"),
            **by_rank(true, probabilities.to_numpy(), classes),
        }
    return {
        "log_rmse": root_mean_squared_error(np.log(true), np.log(said["price"])),
        "rmse": root_mean_squared_error(true, said["price"]),
        "mae": mean_absolute_error(true, said["price"]),
        "r2": r2_score(true, said["price"]),
    }


def by_rank(true, probabilities, classes):
    """One class against the others, and the mean over the classes that occur."""
    hits = {name: (true == name).to_numpy() for name in classes if (true == name).any()}
    columns = [(its, probabilities[:, classes.index(name)]) for name, its in hits.items()]
    return {
        "roc_auc": np.mean([roc_auc_score(*column) for column in columns]),
        "ap": np.mean([average_precision_score(*column) for column in columns]),
    }


@pytest.mark.parametrize("target", TASKS)
def test_folds_are_those_of_a_loop_with_scikit_learns_splitter(cross_validated, tmp_path, target):
    """The loop trains on each fold's training rows as if there were no others."""
    run, metrics = cross_validated[target]
    frame, said = of(target)[:COUNT], []
    for number, (training, held_out) in enumerate(SPLITTERS[target].split(frame, frame[target])):
        folder = tmp_path / str(number)
        folder.mkdir()
        frame.iloc[held_out].to_csv(folder / "held_out.csv", index=False)
        alone = ["--val_size", "0", "--test_csv", str(folder / "held_out.csv")]
        its_run, its_metrics = train(folder, frame.iloc[training], target, *alone)
        own = json.loads((run / f"fold{number}" / "metrics.json").read_text())
        tested = {name: value for name, value in its_metrics.items() if name.startswith("test/")}
        assert {name: own[name] for name in tested} == pytest.approx(tested, abs=2e-6)
        said.append(said_by(its_run, frame.iloc[held_out], folder).set_index(held_out))
    pooled = pd.concat(said).sort_index()
    wanted = figures_of(target, frame[target], pooled)
    assert {name: metrics[f"cv/{name}"] for name in wanted} == pytest.approx(wanted, abs=2e-5)
    chief = next(iter(wanted))
    by_fold = [figures_of(target, frame[target].iloc[its.index], its)[chief] for its in said]
    assert metrics[f"cv/fold_{chief}"] == pytest.approx(by_fold, abs=2e-5)
    file = pd.read_csv(run / "out_of_fold.csv")
    assert file["line"].tolist() == list(range(2, COUNT + 2))
    assert file[target].tolist() == frame[target].tolist()
    columns = {"kind": ["p(castle)", "p(house)", "p(hut)"], "price": ["price"]}[target]
    named = file.rename(columns={"predicted": "price"} if target == "price" else {}).loc[
        :, ~file.columns.isin([target])
    ]
    np.testing.assert_allclose(named[columns], pooled[columns], rtol=1e-5)


@pytest.mark.parametrize("target", TASKS)
def test_mean_of_the_folds_models_predicts_and_is_tested(cross_validated, tmp_path, capsys, target):
    run, metrics = cross_validated[target]
    rows = of(target)[COUNT:]
    each = [said_by(run / f"fold{number}", rows, tmp_path) for number in range(metrics["folds"])]
    capsys.readouterr()
    said = said_by(run, rows, tmp_path)
    line = capsys.readouterr().out.splitlines()[-1]
    if target == "kind":
        columns = ["p(castle)", "p(house)", "p(hut)"]
        np.testing.assert_allclose(said[columns], np.mean([its[columns] for its in each], axis=0), rtol=1e-6)
        assert said["kind"].tolist() == [columns[place][2:-1] for place in said[columns].to_numpy().argmax(1)]
    else:
        logs = np.mean([np.log(its["price"]) for its in each], axis=0)
        np.testing.assert_allclose(said["price"], np.exp(logs), rtol=1e-6)
    wanted = figures_of(target, rows[target], said)
    assert {name: metrics[f"test/{name}"] for name in wanted} == pytest.approx(wanted, abs=2e-6)
    assert metrics["test/samples"] == TESTED
    assert metrics["cv/samples"] == COUNT
    assert line.endswith(f"on {TESTED} rows")
    numbers = [float(number) for number in re.findall(r"-?\d+\.\d+", line)]
    wanted_there = [100 * value if name in ("acc", "balanced_acc") else value for name, value in wanted.items()]
    assert numbers == pytest.approx(wanted_there, abs=0.006)


def test_rows_with_an_unknown_target_are_left_out_of_the_score(cross_validated, tmp_path, capsys):
    run, _ = cross_validated["kind"]
    rows = of("kind")[COUNT:].reset_index(drop=True)
    rows.loc[[3, 4], "kind"] = ["palace", ""]
    rows.loc[5, "kind"] = rows.loc[5, "kind"].upper() + "."  # the same class
    said = said_by(run, rows, tmp_path)
    assert len(said) == TESTED
    wanted = accuracy_score(homes()[COUNT:]["kind"].drop([COUNT + 3, COUNT + 4]), said["kind"].drop([3, 4]))
    line = capsys.readouterr().out.splitlines()[-1]
    assert f" acc {wanted:.2%}, " in line
    assert line.endswith(" on 18 rows; kind is not a class of the training rows in 2 others")
    said_by(run, rows.assign(kind="palace"), tmp_path)
    assert "not scored: kind is a class of the training rows in no row" in capsys.readouterr().out
    said_by(run, rows.drop(columns="kind"), tmp_path)
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.slow
def test_interrupted_run_keeps_the_folds_that_ended_and_predicts_only_when_all_have(tmp_path, capsys, refusal):
    run, metrics = train(
        tmp_path / "homes", of("kind")[:COUNT], "kind", "--folds", "2", "--val_size", "9", "--pictures", "true"
    )
    assert [1 <= epoch <= 2 for epoch in metrics["best_epochs"]] == [True, True]
    assert not any(name.startswith("test/") for name in metrics)
    assert {path.name for path in (run / "figures").iterdir()} == {
        "by_class.png", "calibration.png", "confusion.png", "precision_recall.png",
        "importance.png", "partial_dependence.png",
    }  # fmt: skip
    (run / "metrics.json").unlink()
    (run / "fold1" / "predictions.npz").unlink()
    rows = str(tmp_path / "homes" / "homes.csv")
    assert "not all of its folds have ended" in refusal(predict_table.main, str(run), rows)
    capsys.readouterr()
    cli(table.main, table.RECIPES, ["--resume", str(run)])
    ended = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("fold")]
    assert ended == ["fold1"]
    again = json.loads((run / "metrics.json").read_text())
    assert {name: again[name] for name in again if name.startswith("cv/")} == {
        name: metrics[name] for name in metrics if name.startswith("cv/")
    }
    assert "cross-validated" in refusal(evaluate.main, str(run))
    own = json.loads((run / "fold1" / "metrics.json").read_text())
    figures = cli(evaluate.main, None, [str(run / "fold1"), "--accelerator", "cpu"])
    assert figures == {name: own[name] for name in figures}
    shutil.rmtree(run)


def test_changed_table_is_not_mixed_with_folds_that_have_ended(tmp_path, refusal):
    run, _ = train(tmp_path, of("price"), "price", "--folds", "2")
    (run / "metrics.json").unlink()
    (run / "fold1" / "predictions.npz").unlink()
    changed = of("price")
    changed.loc[7, "area"] += 1
    changed.to_csv(tmp_path / "homes.csv", index=False)
    said = refusal(table.main, "--resume", str(run), recipes=table.RECIPES)
    assert "fold0/predictions.npz: the rows have changed since, and are others" in said


@pytest.mark.parametrize("interrupted", ["publish", "explain_columns"])
def test_what_a_kill_has_left_out_is_made_when_the_run_is_resumed(tmp_path, monkeypatch, interrupted):
    def killed(*args, **kwargs):
        raise KeyboardInterrupt

    where = fold_report if interrupted == "publish" else cross_validation
    monkeypatch.setattr(where, interrupted, killed)
    flags = ["--folds", "2", "--pictures", "true", "--val_size", "0"]
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        train(tmp_path, of("price"), "price", *flags)
    monkeypatch.undo()
    (run,) = (tmp_path / "table").iterdir()
    assert not (run / "metrics.json").exists()
    cli(table.main, table.RECIPES, ["--resume", str(run)])
    assert json.loads((run / "metrics.json").read_text())["cv/samples"] == len(homes())
    assert {"predicted.png", "importance.png"} <= {path.name for path in (run / "figures").iterdir()}
    assert (run / "importance.csv").exists()


def test_finished_folds_are_left_as_they_are(tmp_path, capsys):
    run, _ = train(tmp_path, of("price"), "price", "--folds", "2")
    content = (run / "metrics.json").read_bytes()
    capsys.readouterr()
    cli(table.main, table.RECIPES, ["--resume", str(run)])
    assert (run / "metrics.json").read_bytes() == content
    assert "all folds have finished" in capsys.readouterr().out


def test_changed_test_rows_are_not_averaged_with_folds_that_have_ended(tmp_path, refusal):
    of("price").to_csv(tmp_path / "test.csv", index=False)
    run, _ = train(tmp_path, of("price"), "price", "--folds", "2", "--test_csv", str(tmp_path / "test.csv"))
    (run / "metrics.json").unlink()
    (run / "fold1" / "predictions.npz").unlink()
    of("price").iloc[:9].to_csv(tmp_path / "test.csv", index=False)
    said = refusal(table.main, "--resume", str(run), recipes=table.RECIPES)
    assert "fold0/predictions.npz: what no fold has, such as tests, has changed since" in said


@pytest.mark.parametrize("target", TASKS)
def test_rows_for_testing_are_in_no_fold_and_tested_by_all_models(tmp_path, target):
    flags = ["--folds", "2", "--test_size", "0.2", "--val_size", "0"]
    run, metrics = train(tmp_path, of(target), target, *flags)
    alone = CsvTable(str(tmp_path / "homes.csv"), target, *TASKS[target][1:], test_size=0.2)
    alone.setup()  # as without folds
    tested = of(target).iloc[alone.test_indices]
    out_of_fold = pd.read_csv(run / "out_of_fold.csv")
    assert sorted([*out_of_fold["line"], *(tested.index + 2)]) == list(range(2, COUNT + TESTED + 2))
    said = said_by(run, tested, tmp_path)
    assert metrics["test/samples"] == len(tested) == 17
    if target == "kind":
        assert metrics["test/acc"] == pytest.approx(accuracy_score(tested[target], said[target]), abs=1e-6)
    else:
        assert metrics["test/rmse"] == pytest.approx(root_mean_squared_error(tested[target], said[target]), rel=1e-5)


def test_flags_for_one_training_have_no_folds_and_sizes_follow_from_the_rows(tmp_path, capsys):
    of("price").to_csv(tmp_path / "homes.csv", index=False)
    what = ["--csv", str(tmp_path / "homes.csv"), "--target", "price", "--net", "linear", "--accelerator", "cpu"]
    cli(table.main, table.RECIPES, [*what, "--fast_dev_run", "2"])
    assert "one training instead of 5 folds, because of --fast_dev_run" in capsys.readouterr().out
    tabm = table.RECIPES["tabm"]
    sizes = {rows: suited(rows, tabm) for rows in (10, 200, 4_000, 10**6)}
    assert [(its.batch_size, its.max_epochs) for its in sizes.values()] == [(32, 1000), (32, 167), (128, 97), (256, 20)]
    chosen = [(its.net_args["dropout"], its.net_args["bins"]) for its in sizes.values()]
    assert chosen == [(0.4, 16), (0.4, 16), (0.2, 64), (0.1, 64)]
    assert [its.net_args.get("curves", False) for its in sizes.values()] == [False, False, True, True]
    assert [its.net_args.get("squeeze", 0) for its in sizes.values()] == [0, 0, 32, 32]
    assert [its.net_args["size"] for its in sizes.values()] == [16, 16, 4, 4]
    assert suited(200, replace(tabm, net_args={"dropout": 0.3})).net_args == {"size": 16, "dropout": 0.3, "bins": 16}
    assert suited(9_000, replace(tabm, net_args={"size": 8})).net_args["size"] == 8
    assert suited(9_000, tabm).max_epochs * (9_000 // 256) == pytest.approx(3500, rel=0.02)  # the most steps
    given = replace(table.DEFAULTS, max_epochs=7, batch_size=9)
    assert (suited(500, given).max_epochs, suited(500, given).batch_size) == (7, 9)


def test_without_test_rows_metrics_say_so(tmp_path):
    run, metrics = train(tmp_path, of("price")[:COUNT], "price", "--test_size", "0", "--pictures", "true")
    assert {name: value for name, value in metrics.items() if name.startswith("test")} == {
        "test/samples": 0,
        "test_evaluations": 0,
    }
    assert metrics["val/rmse"] > 0
    figures = cli(evaluate.main, None, [str(run), "--accelerator", "cpu"])
    assert figures["test/samples"] == 0
    assert figures["val/rmse"] == metrics["val/rmse"]


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--folds", "1"], ["folds 1", "at least 2"]),
        (["--folds", "40"], ["homes.csv", "61 rows", "40 folds"]),
        (["--folds", "3", "--refit"], ["--refit", "--folds 0"]),
        (["--folds", "3", "--doctor"], ["doctor", "--folds 0"]),
        (["--folds", "3", "--time", "area"], ["--time area", "--folds 0"]),
        (["--folds", "3", "--val_size", "0", "--early_stopping", "2"], ["--early_stopping 2: ", "--val_size 0.1"]),
        (["--folds", "3", "--val_size", "0", "--lr_decay", "plateau"], ["--lr_decay plateau: ", "--val_size 0.1"]),
        (["--monitor", "null", "--early_stopping", "2"], ["--early_stopping 2: needs a metric"]),
        (["--folds", "4", "--group", "town"], ["homes.csv, column 'town': 4 folds need as many groups; there are 3"]),
        (["--task", "multilabel", "--target", ","], ["target ',': must name columns"]),
        (["--task", "multilabel", "--target", "town,town"], ["target 'town,town': must name columns, each once"]),
        (["--test_csv", "none.csv"], ["none.csv"]),
        (["--test_csv", "palace.csv"], ["palace.csv, line 3", "'kind'", "'palace'", "none of the classes"]),
        (["--test_csv", "palace.csv", "--folds", "2"], ["palace.csv, line 3", "'palace'"]),
        (["--test_csv", "unlabelled.csv"], ["unlabelled.csv", "'kind' is missing"]),
        (["--test_csv", "homes.csv", "--group", "town"], ["homes.csv: 61 faults: line 2", "'town'", "a group of"]),
        (["--test_csv", "homes.csv", "--test_size", "9"], ["test_size 9", "homes.csv"]),
        (["--test_size", "-1"], ["test_size -1", "at least 0"]),
        (["--test_size", "1"], ["test_size 1"]),
        (["--test_size", "2.5"], ["test_size 2.5", "rows"]),
        (["--test_size", "61"], ["test_size 61", "61 rows"]),
        (["--group", "twon"], ["homes.csv", "'twon'", "'town'"]),
        (["--group", "kind"], ["group 'kind'", "target"]),
        (["--group", "area"], ["homes.csv, line 7", "'area'", "needs a group"]),
        (["--group", "town", "--time", "area"], ["'town'", "'area'", "leave one out"]),
        (["--time", "town"], ["homes.csv: 22 faults: line 5", "'town'", "no date or number"]),
    ],
)
def test_mistake_is_one_line(tmp_path, refusal, flags, named):
    frame = of("kind")[:COUNT]
    frame.to_csv(tmp_path / "homes.csv", index=False)
    frame[:5].assign(kind=["hut", "palace", "hut", "hut", "hut"]).to_csv(tmp_path / "palace.csv", index=False)
    frame.drop(columns="kind").to_csv(tmp_path / "unlabelled.csv", index=False)
    what = ["--csv", "homes.csv", "--target", "kind", "--task", "classification"]
    line = refusal(table.main, *what, *QUICK, *flags, recipes=table.RECIPES)
    assert all(part in line for part in named), line


@pytest.mark.parametrize("flags", [["--sep", "tab"], ["--encoding", "cp1252"], ["--no_header"], ["--decimal", "comma"]])
def test_flags_of_a_file_are_not_for_the_sample(refusal, flags):
    assert f"{flags[0]} " in refusal(table.main, "--sample", *flags, recipes=table.RECIPES)


def test_sample_has_no_test_rows_of_its_own(refusal):
    assert "--test_csv" in refusal(table.main, "--sample", "--test_csv", "homes.csv", recipes=table.RECIPES)
