"""`--log_to`: what CSV files, W&B and MLflow get of a run, a resumed one, folds and ranks; and a tracker that fails."""

import csv
import json
import struct

import pytest
import yaml
from interrupt import only_run, start
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from experiments import mnist, table
from harness.command_line.cli import cli
from harness.training import trackers
from harness.training.trackers import IDS, Logged, Tracker, check_trackers, trackers_for

QUICK = ["--sample", "--net", "softmax", "--accelerator", "cpu", "--pictures", "false", "--batch_size", "500"]
BLOCK = 32768  # bytes of W&B's file between two of which no record's header lies


@pytest.fixture(autouse=True)
def nobody_is_logged_in(monkeypatch, tmp_path):
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_PROJECT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def train(folder, *flags):
    cli(mnist.main, mnist.RECIPES, [*QUICK, "--run_dir", str(folder), "--log_every_n_steps", "1", *flags])
    return only_run(folder)


def rows_of(run):
    with (run / "csv" / "metrics.csv").open(newline="") as file:
        return [{name: cell for name, cell in row.items() if cell} for row in csv.DictReader(file)]


def points(rows, name):
    return [(int(row["step"]), pytest.approx(float(row[name]))) for row in rows if name in row]


def numbers_of(run):
    metrics = json.loads((run / "metrics.json").read_text())
    return {f"final/{name}": value for name, value in metrics.items() if type(value) in (int, float)}


def test_csv_of_a_resumed_run_has_each_point_of_tensorboard_once_and_the_final_figures(tmp_path):
    run = train(tmp_path, "--log_to", "csv", "--max_epochs", "1")
    assert "log_to" not in run.name
    cli(mnist.main, mnist.RECIPES, ["--resume", str(run), "--max_epochs", "2"])
    rows, curves = rows_of(run), EventAccumulator(str(run)).Reload()
    for name in ("step/loss", "train/loss", "val/acc"):
        assert points(rows, name) == [(point.step, point.value) for point in curves.Scalars(name)]
    assert len(points(rows, "step/loss")) == 2 * 3  # 1,293 images, by 500
    (final,) = (row for row in rows if "final/test/acc" in row)
    figures = numbers_of(run)
    assert {name: float(final[name]) for name in figures} == figures
    flags = yaml.safe_load((run / "csv" / "hparams.yaml").read_text())
    assert {**flags, "resume": None} == {**yaml.safe_load((run / "config.yaml").read_text()), "resume": None}
    assert flags["max_epochs"] == 2


def wandb_records(run):
    """The records that W&B keeps of each of its sessions: messages in LevelDB's format of logs, after 7 bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    for path in sorted(run.glob("wandb/offline-run-*/*.wandb")):
        content, at, parts = path.read_bytes(), 7, b""
        while at + 7 <= len(content):
            if BLOCK - at % BLOCK < 7:
                at += BLOCK - at % BLOCK
                continue
            size, kind = struct.unpack_from("<HB", content, at + 4)
            parts += content[at + 7 : at + 7 + size]
            at += 7 + size
            if kind in (1, 4):  # whole, or its last part
                yield Record.FromString(parts)
                parts = b""


def test_wandb_gets_flags_curves_and_final_figures_offline_and_a_resumed_run_is_the_same_one(tmp_path):
    pytest.importorskip("wandb", reason="wandb is not installed")
    run = train(tmp_path, "--log_to", "wandb", "--max_epochs", "1")
    cli(mnist.main, mnist.RECIPES, ["--resume", str(run), "--max_epochs", "2"])
    records = list(wandb_records(run))
    starts = [record.run for record in records if record.WhichOneof("record_type") == "run"]
    its = json.loads((run / IDS).read_text())["wandb"]
    assert {start.run_id for start in starts} == {its}
    assert (starts[0].project, starts[0].display_name) == ("mnist", f"mnist/{run.name}")
    updates = [each for record in records for each in (*record.run.config.update, *record.config.update)]
    flags = {each.key: json.loads(each.value_json) for each in updates if each.key}
    flags |= {"/".join(each.nested_key): json.loads(each.value_json) for each in updates if each.nested_key}
    assert (flags["net"], flags["batch_size"], flags["max_epochs"]) == ("softmax", 500, 2)
    logged = [
        {item.key or item.nested_key[0]: json.loads(item.value_json) for item in record.history.item}
        for record in records
    ]
    losses = {row["trainer/global_step"]: row["step/loss"] for row in logged if "step/loss" in row}
    curve = EventAccumulator(str(run)).Reload().Scalars("step/loss")
    assert losses == {point.step: pytest.approx(point.value) for point in curve}
    assert len(losses) == 2 * 3
    final = [row for row in logged if "final/test/acc" in row]
    assert len(final) == 2  # of one epoch, and of two
    figures = numbers_of(run)
    assert {name: final[-1][name] for name in figures} == figures


@pytest.mark.slow  # a new store of MLflow takes ten seconds
def test_mlflow_gets_flags_curves_and_final_figures_and_a_resumed_run_is_the_same_one(tmp_path):
    tracking = pytest.importorskip("mlflow.tracking", reason="mlflow is not installed")
    run = train(tmp_path, "--log_to", "mlflow", "--max_epochs", "1")
    cli(mnist.main, mnist.RECIPES, ["--resume", str(run), "--max_epochs", "2"])
    client = tracking.MlflowClient(f"sqlite:///{run}/mlflow.db")
    (found,) = client.search_runs([client.get_experiment_by_name("mnist").experiment_id])
    assert found.info.run_id == json.loads((run / IDS).read_text())["mlflow"]
    assert (found.info.run_name, found.info.status) == (f"mnist/{run.name}", "FINISHED")
    assert (found.data.params["net"], found.data.params["max_epochs"], found.data.tags["max_epochs"]) == (
        "softmax",
        "1",
        "2",
    )
    losses = {each.step: each.value for each in client.get_metric_history(found.info.run_id, "step/loss")}
    curve = EventAccumulator(str(run)).Reload().Scalars("step/loss")
    assert losses == {point.step: pytest.approx(point.value) for point in curve}
    figures = numbers_of(run)
    assert {name: found.data.metrics[name] for name in figures} == figures


def train_folds(folder, *flags):
    quick = ["--sample", "--net", "linear", "--accelerator", "cpu", "--pictures", "false", "--max_epochs", "1"]
    cli(table.main, table.RECIPES, [*quick, "--folds", "2", "--run_dir", str(folder), *flags])
    return only_run(folder)


def test_folds_have_files_of_their_own_in_the_run_whose_file_has_the_figures_of_all(tmp_path):
    run = train_folds(tmp_path, "--jobs", "1", "--log_to", "csv")
    (whole,) = rows_of(run)
    figures = numbers_of(run)
    assert {name: float(whole[name]) for name in figures} == figures
    for fold in ("fold0", "fold1"):
        assert not (run / fold / "csv").exists()
        with (run / "csv" / fold / "metrics.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        curve = EventAccumulator(str(run / fold)).Reload().Scalars("train/loss")
        assert points([row for row in rows if row["train/loss"]], "train/loss") == [
            (point.step, point.value) for point in curve
        ]
        assert (run / "csv" / fold / "hparams.yaml").exists()


def test_folds_are_in_the_group_of_their_run_in_wandb(tmp_path):
    pytest.importorskip("wandb", reason="wandb is not installed")
    run = train_folds(tmp_path, "--jobs", "2", "--log_to", "wandb")
    starts = [record.run for record in wandb_records(run) if record.WhichOneof("record_type") == "run"]
    assert {(start.run_group, start.project) for start in starts} == {(run.name, "table")}
    assert {start.display_name for start in starts} == {f"{run.name}/fold0", f"{run.name}/fold1", f"table/{run.name}"}
    assert not list(run.glob("fold*/wandb"))


@pytest.mark.slow  # a new store of MLflow takes ten seconds
def test_folds_are_below_their_run_in_its_store_of_mlflow(tmp_path):
    tracking = pytest.importorskip("mlflow.tracking", reason="mlflow is not installed")
    run = train_folds(tmp_path, "--jobs", "2", "--log_to", "mlflow")  # two processes make the store at the same time
    client = tracking.MlflowClient(f"sqlite:///{run}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("table").experiment_id])
    found = {its.info.run_name: its for its in runs}
    whole, *folds = (found.pop(name) for name in (f"table/{run.name}", f"{run.name}/fold0", f"{run.name}/fold1"))
    assert not found
    assert {name: whole.data.metrics[name] for name in numbers_of(run)} == numbers_of(run)
    assert all(fold.data.tags["mlflow.parentRunId"] == whole.info.run_id for fold in folds)
    assert all(len(client.get_metric_history(fold.info.run_id, "train/loss")) == 1 for fold in folds)
    assert {its.info.status for its in (whole, *folds)} == {"FINISHED"}
    assert not list(run.glob("fold*/mlflow*"))


def test_fold_that_starts_over_is_the_same_one(tmp_path):
    """Its directory is removed then, but not what the trackers call it."""
    fold = Logged(tmp_path / "fold0", "table", is_fold=True)
    assert fold.ids == tmp_path / "trackers_fold0.json"
    assert fold.store == tmp_path
    assert fold.title == f"{tmp_path.name}/fold0"
    whole = Logged(tmp_path, "table")
    assert (whole.ids, whole.store, whole.ids_of_folds) == (tmp_path / IDS, tmp_path, [])
    fold.ids.write_text("{}")
    assert whole.ids_of_folds == [fold.ids]


@pytest.mark.slow  # two processes
def test_rank_zero_alone_writes(tmp_path):
    flags = [*QUICK, "--max_epochs", "1", "--log_to", "csv", "--run_dir", str(tmp_path), "--log_every_n_steps", "1"]
    process = start("mnist", *flags, "--devices", "2")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output
    run = only_run(tmp_path)
    rows, curve = rows_of(run), EventAccumulator(str(run)).Reload().Scalars("step/loss")
    assert points(rows, "step/loss") == [(point.step, point.value) for point in curve]
    assert sum("final/test/acc" in row for row in rows) == 1


class Failing(trackers.CSVLogger):
    """A disk that is full after some rows."""

    def log_metrics(self, metrics, step=None):
        if step >= 3:  # in the second epoch
            raise OSError(28, "No space left on device")
        super().log_metrics(metrics, step)


def test_tracker_that_fails_is_named_once_and_the_run_goes_on(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(trackers, "CSVLogger", Failing)
    run = train(tmp_path, "--log_to", "csv", "--max_epochs", "2")
    warnings = [line for line in capsys.readouterr().err.splitlines() if "--log_to" in line]
    assert warnings == ["warning: --log_to csv: [Errno 28] No space left on device; nothing more is logged there"]
    assert {row["step"] for row in rows_of(run)} == {"0", "1", "2"}
    assert json.loads((run / "metrics.json").read_text())["epochs"] == 2
    assert len(EventAccumulator(str(run)).Reload().Scalars("step/loss")) == 6


def test_nothing_is_written_before_the_run_begins(tmp_path):
    (tracker,) = trackers_for(["csv", "csv"], Logged(tmp_path, "name"))
    assert isinstance(tracker, Tracker)
    tracker.log_metrics({"x": 1.0}, 0)
    tracker.finalize("failed")
    assert not list(tmp_path.iterdir())


def test_unknown_tracker_and_missing_package_are_one_line(refusal, monkeypatch):
    assert "--log_to 'wandbb': no such tracker; did you mean wandb?" in refusal(mnist.main, *QUICK, "--log_to=wandbb")
    monkeypatch.setitem(trackers.PACKAGES, "mlflow", "package_that_nobody_has")
    line = refusal(mnist.main, *QUICK, "--log_to=csv,mlflow")
    assert line == "error: --log_to mlflow: needs a package that is not installed: pip install package_that_nobody_has"
    check_trackers(["csv"])


def test_somebody_is_logged_in_by_a_key_or_a_line_of_netrc(tmp_path, monkeypatch):
    assert not trackers._has_key()
    (tmp_path / "netrc").write_text("machine api.wandb.ai\n  login user\n  password word\n")
    assert trackers._has_key()
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.here.example")
    assert not trackers._has_key()
    monkeypatch.setenv("WANDB_API_KEY", "word")
    assert trackers._has_key()
