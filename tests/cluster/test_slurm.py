"""Folds and seeds as a job array of a real SLURM: the local engine's figures, whatever is killed meanwhile."""

import json
import subprocess
import sys
from threading import Thread

import pytest
from fold_runs import FLAGS, FOLDS, ROOT, cross_validate, go_on, interrupt_folds, wait_for, writer_of
from sweep_runs import TRIALS, sweep_in, trials_in

from benchmarks import engines
from experiments import repeat, sweep, table
from harness.command_line.cli import cli
from harness.comparing.scripts import finished, split_command
from harness.processes.engines.slurm import Engine

BY_SLURM = ["--engine", "slurm", "--engine_args.memory", "1"]
SEEDS = 2
SCRIPT = ["mnist.py", "--sample", "--net", "softmax", "--accelerator", "cpu", "--max_epochs", "60"]
IDLE_IMPORT = 2.0  # seconds that the import of torch takes where nothing else runs


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    return cross_validate(tmp_path_factory.mktemp("local"), "--jobs", "1")[1]


def queue_of(slurm):
    return slurm.said("squeue", "--noheader", "--array").splitlines()


def submissions(run):
    return len(list((run / "engine").glob("*_submission.sh")))


def test_an_array_gives_the_figures_of_local_processes_though_the_controller_restarts(slurm, local, tmp_path):
    def restart():
        wait_for(lambda: next(tmp_path.glob("table/*/fold1/log.txt"), None))
        slurm.kill("slurmctld")
        slurm.start_controller()

    restarter = Thread(target=restart)
    restarter.start()
    run, figures = cross_validate(tmp_path, *BY_SLURM)
    restarter.join()
    assert figures == local
    assert len(list((run / "engine").glob("*_result.pkl"))) == FOLDS
    assert submissions(run) == 1
    assert not queue_of(slurm)


def test_a_fold_whose_process_is_killed_is_done_once(slurm, local, tmp_path):
    def kill():
        writer_of(wait_for(lambda: next(tmp_path.glob("table/*/fold1/log.txt"), None))).kill()

    killer = Thread(target=kill)
    killer.start()
    run, figures = cross_validate(tmp_path, *BY_SLURM)
    killer.join()
    assert figures == local
    assert submissions(run) == 2  # the second one for that fold alone
    assert len(list((run / "engine").glob("*_result.pkl"))) == FOLDS
    assert not queue_of(slurm)


def kill_when(command, appears):
    """Starts a command, and kills it when a file is there, which is returned."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return wait_for(appears)
    finally:
        process.kill()
        process.wait()


def test_folds_whose_command_is_killed_go_on_and_leave_no_job(slurm, local, tmp_path):
    command = [sys.executable, "experiments/table.py", *FLAGS, "--run_dir", str(tmp_path), *BY_SLURM]
    kept = kill_when(command, lambda: next(tmp_path.glob("table/*/fold*/predictions.npz"), None))
    written = kept.stat().st_mtime_ns
    assert go_on(tmp_path, *BY_SLURM) == local
    assert kept.stat().st_mtime_ns == written
    assert not queue_of(slurm)


def test_an_interrupted_command_leaves_no_job_and_goes_on(slurm, local, tmp_path):
    interrupt_folds(tmp_path, "fold*/predictions.npz", *BY_SLURM)
    wait_for(lambda: not queue_of(slurm))
    assert go_on(tmp_path, *BY_SLURM) == local


def seeds_of(folder):
    """The folders of a repetition's seeds."""
    return sorted(folder.glob("repeat/*/seed*"))


def repeat_in(folder, *flags):
    cli(repeat.main, None, split_command(["--run_dir", str(folder), *flags, *SCRIPT]))
    return [figures_of_seed(seed) for seed in seeds_of(folder)]


def figures_of_seed(seed):
    metrics = json.loads((finished(seed) / "metrics.json").read_text())
    return {name: value for name, value in metrics.items() if name.startswith(("test/", "val/"))}


@pytest.fixture(scope="module")
def seeds_here(tmp_path_factory):
    """The figures of each seed by the local engine."""
    return repeat_in(tmp_path_factory.mktemp("seeds"), "--seeds", str(SEEDS))


def preempt(slurm):
    """A job of higher priority takes the nodes for a moment."""
    slurm.said("sbatch", "-p", "urgent", "-N2", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 3")


def test_a_preempted_seed_goes_on_from_its_checkpoint(slurm, seeds_here, tmp_path):
    """SLURM queues the seed again, which ends as if nothing had been."""

    def take():
        wait_for(lambda: next(tmp_path.glob("repeat/*/seed0/mnist/*/checkpoints/last.ckpt"), None))
        preempt(slurm)

    taker = Thread(target=take)
    taker.start()
    assert repeat_in(tmp_path, "--seeds", "1", *BY_SLURM) == seeds_here[:1]
    taker.join()
    (seed,) = seeds_of(tmp_path)
    assert (seed / "log.txt").read_text().count("run directory") == 2  # it was begun, and resumed
    wait_for(lambda: not queue_of(slurm))


def test_seeds_whose_command_is_killed_go_on(slurm, seeds_here, tmp_path):
    flags = ["--run_dir", str(tmp_path), "--seeds", str(SEEDS), *BY_SLURM]
    kill_when(
        [sys.executable, "experiments/repeat.py", *flags, *SCRIPT],
        lambda: next(tmp_path.glob("repeat/*/seed*/mnist/*/checkpoints/last.ckpt"), None),
    )
    assert repeat_in(tmp_path, *flags[2:]) == seeds_here
    assert [len(list(seed.glob("mnist/*"))) for seed in seeds_of(tmp_path)] == [1] * SEEDS
    assert not queue_of(slurm)


def test_a_sweep_by_four_jobs_does_each_trial_once_though_a_node_is_lost(slurm, postgres, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    _, expected = sweep_in(here)

    def lose():
        wait_for(lambda: len(list(there.glob("sweep/*/trial*/mnist/*/metrics.json"))) >= 3)
        slurm.lose_node("node1")

    loser = Thread(target=lose, daemon=True)  # waits for trials, of which there are none if the command fails
    loser.start()
    try:
        flags = ["--jobs", "4", "--storage", postgres.url, "--heartbeat", "5", *BY_SLURM]
        folder, lines = sweep_in(there, *flags)
        loser.join()
    finally:
        slurm.start_node("node1")
        slurm.wait_until_idle()
    assert lines == expected
    assert len(lines) == TRIALS
    assert len(trials_in(folder)) == TRIALS
    assert not queue_of(slurm)


def test_slurm_sh_goes_on_exactly_after_a_time_limit_and_a_preemption(slurm, tmp_path):
    """A run of two tasks on two nodes, by the batch script of the documentation."""
    flags = [*SCRIPT[1:-1], "100", "--run_dir"]
    script = str(ROOT / "experiments" / "mnist.py")
    subprocess.run([sys.executable, script, *flags, str(tmp_path / "here"), "--devices", "2"], check=True)
    (tmp_path / ".venv").symlink_to(sys.prefix)
    each = ["--ntasks-per-node=1", "--gpus-per-node=1", "--cpus-per-task=1", "--mem=1G", "--time=60"]
    here = ["--export=ALL,MASTER_ADDR=127.0.0.1", f"--chdir={tmp_path}", "--parsable"]  # node0 is no host's name
    job = slurm.said(
        "sbatch", *each, *here, str(ROOT / "docs/slurm.sh"), script, *flags, str(tmp_path / "there")
    ).strip()
    last = wait_for(lambda: next(tmp_path.glob("there/mnist/*/checkpoints/last.ckpt"), None))
    slurm.said("scancel", "--signal=TERM", job)  # to the tasks, as two minutes before the time limit
    restarts(slurm, job, 1)
    written = last.stat().st_mtime_ns
    wait_for(lambda: last.stat().st_mtime_ns > written)
    preempt(slurm)
    restarts(slurm, job, 2)
    wait_for(lambda: not queue_of(slurm))
    (run,), (expected,) = (list((tmp_path / where / "mnist").iterdir()) for where in ("there", "here"))
    metrics, wanted = (json.loads((its / "metrics.json").read_text()) for its in (run, expected))
    same = [name for name in wanted if name.startswith(("test/", "val/")) or name in ("epochs", "steps")]
    assert {name: metrics[name] for name in same} == {name: wanted[name] for name in same}


def restarts(slurm, job, number):
    """Waits until the job has been queued again so many times."""
    wait_for(lambda: f"Restarts={number} " in slurm.said("scontrol", "show", "job", job))


def test_start_of_a_job_adds_less_than_five_seconds(slurm, tmp_path):
    engine = Engine(memory=1.0)
    wait = min(engines.measure(engine, 1, tmp_path / str(time))[0][0] for time in range(3))
    beside = engines.import_seconds()
    assert wait - beside < 5 * max(1, beside / IDLE_IMPORT)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--engine_args.partition", "nowhere"], "Invalid partition name specified"),
        (["--engine_args.gpus", "3"], "Requested node configuration is not available"),
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


def test_a_folder_that_the_node_does_not_see_is_one_line(slurm, refusal):
    runs = ["--run_dir", str(slurm.hidden), "--engine_args.partition", "apart"]
    line = refusal(table.main, *FLAGS, *BY_SLURM, *runs, recipes=table.RECIPES)
    assert "its node does not see this folder" in line
    assert not queue_of(slurm)
    assert not list(slurm.hidden.glob("table/*"))
