"""Engines on a machine without clusters: which there are, their options, and what a script without folds says."""

import subprocess
import sys
from itertools import chain
from itertools import repeat as repeated

import pytest

from basics.errors import InputError
from experiments import mnist, repeat, sweep, table
from harness.comparing.scripts import split_command
from harness.processes.engines import engine, slurm
from harness.processes.engines.engine import Job, Local, engine_called, result_of
from harness.processes.locks import locked

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
        if asked.count("scancel") == 2:
            answers["squeue"] = ""
        return subprocess.CompletedProcess(command, 0, answers[command[0]], "")

    monkeypatch.setattr(slurm, "_slurm", answer)
    monkeypatch.setattr(slurm, "LOOK_SECONDS", 0.01)
    (tmp_path / slurm.IDS).write_text("17\n")
    slurm._end(tmp_path)
    assert asked == ["scancel", "squeue"] * 2 and not (tmp_path / slurm.IDS).exists()


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
