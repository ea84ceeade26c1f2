"""Engines on a machine without clusters: which there are, their options, and what a script without folds says."""

import subprocess
import sys
from itertools import chain
from itertools import repeat as repeated
from types import SimpleNamespace

import pytest

from basics.errors import InputError
from experiments import mnist, repeat, sweep, table
from harness.command_line.cli import cli
from harness.comparing.scripts import split_command
from harness.processes.engines import engine, on_ray, slurm
from harness.processes.engines.engine import Job, Local, engine_called, result_of
from harness.processes.locks import locked
from harness.processes.pools import ProcessKilledError

FOLDS = ["--sample", "--net", "linear", "--folds", "2", "--accelerator", "cpu"]


def power(base, exponent):
    if base < 0:
        raise InputError("base: must be at least 0")
    return base**exponent


def refused(name, **options):
    with pytest.raises(InputError) as error:
        engine_called(name, options)
    return str(error.value)


@pytest.mark.parametrize("workers", [1, 2])
def test_local_engine_numbers_the_results(workers, tmp_path):
    tasks = [(2, 3), (3, 2), (5, 1)]
    assert dict(Local(workers, 0).run(power, tasks, tmp_path)) == {0: 8, 1: 9, 2: 5}


def test_bad_input_in_a_job_comes_back_as_such(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    job = Job(1, tmp_path, tmp_path)
    assert result_of(job(power, (2, 5))) == 32
    with pytest.raises(InputError, match="base: must be at least 0"):
        result_of(job(power, (-1, 5)))


def test_a_machine_without_the_folder_of_the_runs_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "VISIBLE_SECONDS", 0.1)
    for job in (Job(1, tmp_path, tmp_path / "runs"), Job(1, tmp_path / "project", tmp_path)):
        with pytest.raises(InputError, match=f"{tmp_path}/(runs|project): .* does not see it"):
            result_of(job(power, (2, 5)))


def test_unknown_engines_and_options_are_named(refusal, monkeypatch):
    line = refusal(table.main, *FOLDS, "--engine", "slrum", recipes=table.RECIPES)
    assert line.startswith("error: --engine 'slrum': no such engine; did you mean slurm? There are local, ray, slurm")
    assert "--engine_args.gpus: is for --engine slurm and ray" in refused("local", gpus=1)
    assert "did you mean partition?" in refused("slurm", partitoin="long")
    assert refused("slurm", gpus="two") == "--engine_args.gpus two: must be int"
    assert refused("slurm", hours=-1) == "--engine_args.hours -1: must be a finite number, at least 0"


@pytest.mark.parametrize(("engine", "needs"), [("slurm", "submitit"), ("ray", "ray")])
def test_missing_package_is_named(engine, needs, refusal, monkeypatch):
    monkeypatch.setitem(sys.modules, needs, None)
    line = refusal(table.main, *FOLDS, "--engine", engine, recipes=table.RECIPES)
    assert line == f"error: --engine {engine}: needs the package {needs}; pip install {needs}"


def test_single_training_and_local_databases_are_refused(refusal):
    single = ["--sample", "--net", "softmax", "--engine", "slurm"]
    assert "--engine slurm: trains folds" in refusal(mnist.main, *single, recipes=mnist.RECIPES)

    def swept(*flags):
        words = [*flags, "mnist.py", "--sample", "--vary", "lr=0.1,0.2"]
        return refusal(sweep.main, *sweep.join_vary(split_command(words, sweep.OWN)))

    assert "needs a --storage for all machines" in swept("--engine", "ray")
    line = swept("--storage", "postgresql://me:secret@host/sweeps")
    assert "use PGPASSWORD or ~/.pgpass" in line
    assert "secret" not in line
    for hidden in ("postgresql+psycopg://me:sec/ret@db/sweeps", "postgresql+psycopg://db/sweeps?user=me&password=x"):
        assert "use PGPASSWORD or ~/.pgpass" in swept("--storage", hidden)
    assert "is no URL of a database" in swept("--storage", "somewhere")


def test_ray_gets_no_password_from_the_environment(refusal, monkeypatch):
    monkeypatch.setenv("PGPASSWORD", "secret")
    words = ["--engine", "ray", "--storage", "postgresql+psycopg://db/sweeps", "mnist.py", "--vary", "lr=0.1,0.2"]
    line = refusal(sweep.main, *sweep.join_vary(split_command(words, sweep.OWN)))
    assert line == "error: --engine ray: its nodes do not get PGPASSWORD; the password has to be in ~/.pgpass on each"


def test_account_may_be_a_number(monkeypatch):
    monkeypatch.setattr(slurm.Engine, "check", lambda self: None)
    made = engine_called("slurm", {"account": 12345, "cpus": 4})
    assert (made.account, made.cpus) == ("12345", 4)


def test_jobs_are_cancelled_before_anything_that_may_take_long(tmp_path, monkeypatch):
    asked = []
    answers = {"squeue": "17_0 R\n", "scancel": ""}

    def answer(*command):
        asked.append(command[0])
        assert "--name=mine-1" in command
        if asked.count("scancel") == 2:
            answers["squeue"] = ""
        return subprocess.CompletedProcess(command, 0, answers[command[0]], "")

    monkeypatch.setattr(slurm, "_slurm", answer)
    monkeypatch.setattr(slurm, "LOOK_SECONDS", 0.01)
    (tmp_path / slurm.NAMES).write_text("mine-1\n")
    slurm._end(tmp_path)
    assert asked == ["scancel", "squeue"] * 2 and not (tmp_path / slurm.NAMES).exists()


class Queue:
    """In place of SLURM's commands and of submitit: an array that has been submitted, and does not end."""

    def __init__(self, monkeypatch):
        self.asked, self.away = [], 0  # as often as `sbatch` and `squeue` do not answer
        monkeypatch.setattr(slurm, "_slurm", self.answer)
        monkeypatch.setattr(slurm, "package", lambda name, engine: self)
        monkeypatch.setattr(slurm, "LOOK_SECONDS", 0.01)
        self.core = self.utils = self
        self.FailedJobError = ConnectionError

    def answer(self, *command):
        self.asked.append(command)
        is_away = self.away > 0
        self.away -= is_away
        return subprocess.CompletedProcess(command, int(is_away), "17_0\n", "")

    def SlurmExecutor(self, folder, **options):  # noqa: N802  submitit's name
        self.folder = folder
        return self

    def update_parameters(self, job_name, **others):
        self.name = job_name

    def map_array(self, how, calls, tasks):
        assert (self.folder / slurm.NAMES).read_text() == f"{self.name}\n"  # known before there is a job
        if self.away:
            raise ConnectionError("sbatch: error: Unable to contact slurm controller")
        return [SimpleNamespace(job_id="17_0") for _ in tasks]


def test_an_interrupted_command_cancels_its_jobs_and_does_not_wait_for_them(tmp_path, monkeypatch):
    queue = Queue(monkeypatch)

    def interrupt(seconds):
        raise SystemExit(143)

    monkeypatch.setattr(slurm.time, "sleep", interrupt)
    with pytest.raises(SystemExit):
        list(slurm.Engine().run(print, [(1,)], tmp_path / "run of 2, net=a" / "engine"))
    assert queue.name.startswith("run-of-2-net-a-")
    assert queue.asked[-1] == ("scancel", "--me", f"--name={queue.name}")
    names = tmp_path / "run of 2, net=a" / "engine" / slurm.NAMES
    assert names.read_text().split() == [queue.name]  # the next command waits until they have ended


def test_an_array_is_submitted_when_the_controller_is_back(tmp_path, monkeypatch):
    queue = Queue(monkeypatch)
    queue.away = 3
    assert len(slurm.Engine()._submit(print, {0: (1,)}, tmp_path)) == 1
    assert [command[0] for command in queue.asked] == ["squeue"] * 3


def test_a_task_of_ray_that_is_started_too_often_ends(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # as a job does; the folder of the tests comes back after it
    how = Job(cpus=1, folder=tmp_path, shared=tmp_path)
    said = [on_ray.do_counted(how, abs, (-3,), tmp_path / "starts0.txt") for _ in range(engine.TRIES + 1)]
    assert said[: engine.TRIES] == [3] * engine.TRIES
    assert isinstance(said[-1], ProcessKilledError)
    assert "was lost 3 times" in str(said[-1])


def test_folds_whose_jobs_may_still_run_are_not_trained_here(tmp_path, refusal):
    own = ["--run_dir", str(tmp_path), "--max_epochs", "1"]
    cli(table.main, table.RECIPES, [*FOLDS, *own])
    (run,) = (tmp_path / "table").iterdir()
    (run / "engine").mkdir(exist_ok=True)
    (run / "engine" / slurm.NAMES).write_text("mine-1\n")
    (run / "metrics.json").unlink()
    before = sorted(run.rglob("*"))
    line = refusal(table.main, "--resume", str(run), recipes=table.RECIPES)
    assert line.startswith(f"error: {run}: its jobs may still run; add --engine slurm, or cancel them and remove ")
    assert sorted(run.rglob("*")) == before


def test_jobs_are_those_of_this_machine(refusal, monkeypatch):
    monkeypatch.setattr(slurm.Engine, "check", lambda self: None)
    line = refusal(table.main, *FOLDS, "--engine", "slurm", "--jobs", "4", recipes=table.RECIPES)
    assert line == "error: jobs 4: is for this machine; slurm runs as many as it has room for"


def test_lock_that_another_holds_or_that_cannot_be_written_is_one_line(tmp_path):
    held = locked(tmp_path / "lock", "it is held")
    with held, pytest.raises(InputError, match=r"^it is held$"), locked(tmp_path / "lock", "it is held"):
        pass
    with locked(tmp_path / "lock", "it is held"):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"), locked(tmp_path / "file" / "lock", "it is held"):
        pass


def test_run_that_is_seen_late_has_not_failed(tmp_path, monkeypatch):
    late = chain([None, None], repeated(tmp_path))
    monkeypatch.setattr(repeat, "finished", lambda folder: next(late))

    class Cluster:
        def run(self, call, tasks, folder):
            yield 0, 0

    assert repeat._run_by(Cluster(), tmp_path / "a.py", [], {0: tmp_path / "seed0"}, tmp_path) == []


def test_engine_of_a_tool_stands_before_the_script(refusal):
    words = split_command(["--seeds", "1", "--engine", "nowhere", "mnist.py", "--sample"])
    assert "no such engine" in refusal(repeat.main, *words)
