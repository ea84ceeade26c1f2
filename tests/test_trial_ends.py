"""How the trials of a sweep end: pruned, crashed, taken over, interrupted, preempted, or of another study."""

import textwrap
from threading import Event, Thread

import pytest
from optuna.exceptions import StorageInternalError
from optuna.trial import TrialState
from test_sweep import one_thread, run_sweep, trials_of, wait_for  # noqa: F401  a fixture

from harness.comparing import trials as trials_module
from harness.comparing.sweep_space import parse_vary
from harness.comparing.trials import Sweep, open_study, work

HEAD = """
import time
from basics.files import write_json
from harness.command_line.cli import cli
from harness.runs.directories import new_run, write_config
from harness.runs.invocation import Invocation
from harness.training.run_logger import RunLogger

def main(
    invocation: Invocation, x: {kind}, max_epochs: int = {epochs}, monitor: str = "{monitor}", run_dir: str = "runs"
) -> None:
    run = new_run("any", run_dir, "x")
    write_config(run, invocation.flags)
    logger = RunLogger(run, name="", version="", default_hp_metric=False)
    number = len(list(run.parents[2].glob("trial*")))
"""


def write_script(path, lines, kind="str = 'a'", epochs=1, monitor="val/acc"):
    """A script of one flag, x, whose trials do what the lines say; `number` counts them from 1."""
    body = textwrap.indent(textwrap.dedent(lines), "    ")
    path.write_text(HEAD.format(kind=kind, epochs=epochs, monitor=monitor) + body + "\n\ncli(main)\n")
    return path


@pytest.fixture
def slow_script(tmp_path):
    """Logs twenty points at once, as a training does; the sixth trial low ones, two in a second."""
    lines = """
    bad = number == 6
    (run.parent / "compare.png").write_text("a user's, beside the runs")
    for epoch in range(max_epochs):
        logger.log_metrics({"val/acc": 0.1 if bad else 0.9, "epoch": epoch}, step=10 * epoch)
        logger.save()
        time.sleep(0.5 if bad or max_epochs > 20 else 0)
    write_json(run / "metrics.json", {"val/acc": 0.9})
    """
    return write_script(tmp_path / "slow.py", lines, epochs=20)


def test_runs_that_fall_behind_are_pruned(tmp_path, slow_script):
    folder = run_sweep(tmp_path, "--trials", "6", str(slow_script), "--vary", "x=a,b,c,d,e,f")
    *others, last = trials_of(folder)
    assert {trial.state for trial in others} == {TrialState.COMPLETE}
    assert {len(trial.intermediate_values) for trial in others} == {20}  # also of what no look had found yet
    assert last.state == TrialState.PRUNED
    assert last.value == pytest.approx(0.1)
    assert last.last_step < 20
    assert ",PRUNED," in (folder / "trials.csv").read_text()


def test_result_that_is_only_read_brings_its_curve(tmp_path, slow_script):
    flags = ["--trials", "1", str(slow_script), "--vary", "x=a,b"]
    folder = run_sweep(tmp_path, *flags)
    (folder / "study.db").unlink()
    assert run_sweep(tmp_path, *flags) == folder
    (trial,) = trials_of(folder)
    assert trial.intermediate_values == {epoch: pytest.approx(0.9) for epoch in range(1, 21)}


def test_figure_that_runs_do_not_have_ends_the_sweep_after_the_first(tmp_path, capsys):
    script = write_script(tmp_path / "one.py", 'write_json(run / "metrics.json", {"val/acc": 0.9, "test/acc": 0.8})')
    with pytest.raises(SystemExit) as stop:
        run_sweep(tmp_path, "--trials", "3", "--metric", "val/accuracy", str(script), "--vary", "x=a,b,c")
    assert stop.value.code == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert line.startswith("error: --metric val/accuracy: ") and line.endswith("it has val/acc")
    assert len(list(tmp_path.glob("sweep/*/trial*"))) == 1


@pytest.mark.parametrize("how", ["taken over", "away"])
def test_result_that_cannot_be_told_is_no_end_of_the_worker(tmp_path, monkeypatch, how):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    wanted = Sweep(tmp_path / "none.py", [], parse_vary(["x=0.1..1"]), "val/acc", 2, tmp_path, url, 1, -1, "max")

    def run_trial(study, trial, *_):
        trial.suggest_float("x", 0.1, 1)
        trial.set_user_attr("begun", trial.number)
        if trial.number == 0 and how == "taken over":  # by a worker that thought this one dead
            study._storage.set_trial_state_values(trial._trial_id, state=TrialState.FAIL)
        elif trial.number == 0:
            monkeypatch.setattr(study._storage, "set_trial_state_values", away)
        return 0.5

    def away(*_, **__):
        monkeypatch.undo()
        monkeypatch.setattr(trials_module, "_run_trial", run_trial)
        raise StorageInternalError("the server was stopped")

    monkeypatch.setattr(trials_module, "_run_trial", run_trial)
    work(wanted, (0, 1), Event())
    states = [trial.state.name for trial in open_study(wanted).trials]
    assert states.count("COMPLETE") == 2 and states[0] == "FAIL"


def test_trial_that_ended_badly_is_no_pruned_one(tmp_path):
    """The last two have worse curves than the others, but one has crashed, and the other has its result."""
    lines = """
    for epoch in range(4):
        logger.log_metrics({"val/acc": 0.1 if number > 5 else 0.9, "epoch": epoch}, step=10 * epoch)
        logger.save()
    if number == 6:
        raise RuntimeError("out of memory")
    write_json(run / "metrics.json", {"val/acc": 0.8})
    """
    script = write_script(tmp_path / "quick.py", lines)
    folder = run_sweep(tmp_path, "--trials", "7", str(script), "--vary", "x=a,b,c,d,e,f,g")
    *_, crashed, ended = trials_of(folder)
    assert (crashed.state, ended.state, ended.value) == (TrialState.FAIL, TrialState.COMPLETE, 0.8)
    assert crashed.user_attrs["failure"].endswith("RuntimeError: out of memory")


def test_trial_that_a_cluster_ends_is_queued_again(tmp_path, monkeypatch):
    script, waited = tmp_path / "preempted.py", []
    script.write_text("raise SystemExit(143)\n")
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setattr(trials_module, "await_preemption", waited.append)  # there the job ends
    url = f"sqlite:///{tmp_path / 'study.db'}"
    study = open_study(wanted := Sweep(script, [], {}, "val/acc", 1, tmp_path, url, 10, -1))
    trials_module._work_once(study, wanted, (0, 1), Event(), [])
    assert [trial.state.name for trial in study.trials] == ["FAIL", "WAITING"]
    assert "failure" not in study.trials[0].user_attrs
    assert study.trials[1].user_attrs["folder"] == "trial0000"
    assert waited == [tmp_path / "trial0000"]


def test_results_of_another_study_are_not_taken(tmp_path, capsys):
    lines = 'write_json(run / "metrics.json", {"val/loss": x})'
    script = write_script(tmp_path / "one.py", lines, kind="float = 0.0", monitor="val/loss")
    flags = ["--trials", "1", str(script), "--vary", "x=0.1..0.9"]
    folder = run_sweep(tmp_path, *flags)
    (folder / "study.db").unlink()
    with pytest.raises(SystemExit) as stop:
        run_sweep(tmp_path, *flags)  # draws another value for its first trial
    assert stop.value.code == 2
    assert f"{folder / 'trial0000'}: is of another study" in capsys.readouterr().err


def test_trial_that_others_took_over_is_left_and_an_interrupted_one_is_queued_again(tmp_path, slow_script):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    wanted = Sweep(slow_script, ["--max_epochs", "3000"], {}, "val/acc", 10, tmp_path, url, 10, 0)
    study, stopped = open_study(wanted), Event()
    worker = Thread(target=work, args=(wanted, (0, 1), stopped))
    worker.start()
    wait_for(lambda: list(tmp_path.glob("trial0000/any/*/config.yaml")))
    study.tell(0, state=TrialState.FAIL)  # as another worker does that takes the first for dead
    wait_for(lambda: len(study.trials) > 1 and "folder" in study.trials[1].user_attrs)
    stopped.set()
    worker.join(60)
    assert not worker.is_alive()
    assert [trial.state.name for trial in study.trials] == ["FAIL", "FAIL", "WAITING"]
    assert study.trials[2].user_attrs == {"folder": "trial0000", "begun": 1}  # of the same values: it goes on there
    assert not list(tmp_path.rglob("metrics.json"))
