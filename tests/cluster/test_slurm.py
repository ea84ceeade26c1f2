"""Folds and seeds as a job array of a real SLURM: the local engine's figures, whatever is killed meanwhile."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from threading import Thread

import psutil
import pytest
from fold_runs import FLAGS, FOLDS, cross_validate, figures_of, wait_for

from experiments import repeat, sweep, table
from harness.command_line.cli import cli
from harness.comparing.scripts import finished, split_command

ROOT = Path(__file__).parents[2]
BY_SLURM = ["--engine", "slurm", "--engine_args.memory", "1"]


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    return cross_validate(tmp_path_factory.mktemp("local"), "--jobs", "1")[1]


def queue_of(slurm):
    return slurm.said("squeue", "--noheader", "--array").splitlines()


def job_of(number):
    """The process that does a task of the array."""
    return next(process for process in psutil.process_iter() if _does(process, number))


def _does(process, number):
    try:
        ours = "submitit.core._submit" in process.cmdline() and "srun" not in process.name()
        return ours and process.environ().get("SLURM_ARRAY_TASK_ID") == str(number)
    except psutil.Error:  # it has ended
        return False


def submissions(run):
    return len(list((run / "engine").glob("*_submission.sh")))


def test_an_array_gives_the_figures_of_local_processes(slurm, local, tmp_path):
    run, figures = cross_validate(tmp_path, *BY_SLURM)
    assert figures == local
    assert len(list((run / "engine").glob("*_result.pkl"))) == FOLDS
    assert submissions(run) == 1
    assert not queue_of(slurm)


def test_a_fold_whose_process_is_killed_is_done_once(slurm, local, tmp_path):
    def kill():
        wait_for(lambda: next(tmp_path.glob("table/*/fold1/log.txt"), None))
        job_of(1).kill()

    killer = Thread(target=kill)
    killer.start()
    run, figures = cross_validate(tmp_path, *BY_SLURM, "--max_epochs", "2")
    killer.join()
    assert figures == local
    assert submissions(run) == 2  # the second one for that fold alone
    assert len(list((run / "engine").glob("*_result.pkl"))) == FOLDS
    assert not queue_of(slurm)


def test_a_controller_that_is_killed_goes_on_and_leaves_no_job(slurm, local, tmp_path):
    command = [sys.executable, "experiments/table.py", *FLAGS, "--run_dir", str(tmp_path), *BY_SLURM]
    first = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    kept = wait_for(lambda: next(tmp_path.glob("table/*/fold*/predictions.npz"), None))
    first.send_signal(signal.SIGKILL)
    first.wait()
    written = kept.stat().st_mtime_ns
    cli(table.main, table.RECIPES, [*FLAGS, "--run_dir", str(tmp_path), *BY_SLURM, "--resume", "auto"])
    (run,) = (tmp_path / "table").iterdir()
    assert figures_of(run) == local
    assert kept.stat().st_mtime_ns == written
    assert not queue_of(slurm)


def test_a_preempted_seed_goes_on_from_its_checkpoint(slurm, tmp_path):
    """A job of higher priority takes both nodes; SLURM queues the seed again, which ends as if nothing had been."""
    script = ["mnist.py", "--sample", "--net", "softmax", "--accelerator", "cpu", "--max_epochs", "60"]
    alone, by_slurm = tmp_path / "alone", tmp_path / "slurm"
    cli(repeat.main, None, split_command(["--run_dir", str(alone), "--seeds", "1", *script]))

    def preempt():
        wait_for(lambda: next(by_slurm.glob("repeat/*/seed0/mnist/*/checkpoints/last.ckpt"), None))
        slurm.said("sbatch", "-p", "urgent", "-N2", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 3")

    taker = Thread(target=preempt)
    taker.start()
    cli(repeat.main, None, split_command(["--run_dir", str(by_slurm), "--seeds", "1", *BY_SLURM, *script]))
    taker.join()
    (seed,) = by_slurm.glob("repeat/*/seed0")
    assert (seed / "log.txt").read_text().count("run directory") == 2  # it was begun, and resumed
    (expected,) = alone.glob("repeat/*/seed0")
    assert figures_of_seed(finished(seed)) == figures_of_seed(finished(expected))
    wait_for(lambda: not queue_of(slurm))


def figures_of_seed(run):
    metrics = json.loads((run / "metrics.json").read_text())
    return {name: value for name, value in metrics.items() if name.startswith(("test/", "val/"))}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--engine_args.partition", "nowhere"], "Invalid partition name specified"),
        (["--engine_args.gpus", "1"], "Invalid generic resource (gres) specification"),
        (["--engine_args.memory", "64"], "Requested node configuration is not available"),
    ],
)
def test_what_the_cluster_cannot_give_is_one_line(slurm, refusal, flags, said):
    line = refusal(table.main, *FLAGS, "--engine", "slurm", *flags, recipes=table.RECIPES)
    assert line == f"error: --engine slurm: {said}"
    assert not queue_of(slurm)


def test_a_cluster_that_does_not_answer_is_one_line(slurm, refusal, monkeypatch, tmp_path):
    closed = tmp_path / "slurm.conf"
    port = next(line for line in slurm.conf.read_text().splitlines() if line.startswith("SlurmctldPort"))
    closed.write_text(slurm.conf.read_text().replace(port, "SlurmctldPort=9\nMessageTimeout=5"))
    monkeypatch.setenv("SLURM_CONF", str(closed))
    line = refusal(table.main, *FLAGS, "--engine", "slurm", recipes=table.RECIPES)
    assert line.startswith("error: --engine slurm: ")
    assert "Unable to contact slurm controller" in line


def test_a_sweep_of_several_machines_needs_a_database_for_them(slurm, refusal):
    flags = sweep.join_vary(
        split_command(["--engine", "slurm", "mnist.py", "--sample", "--vary", "lr=0.1,0.2"], sweep.OWN)
    )
    assert "needs a --storage for all machines" in refusal(sweep.main, *flags)
