"""Folds, seeds and trials on a Ray cluster of two nodes: the local engine's figures, whatever is killed."""

import subprocess
import sys
from pathlib import Path
from threading import Thread

import pytest
from fold_runs import FLAGS, ROOT, cross_validate, go_on, interrupt_folds, wait_for, writer_of
from postgres_server import PASSWORD
from sweep_runs import TRIALS, sweep_in, trials_in

from experiments import repeat, table
from harness.command_line.cli import cli
from harness.comparing.scripts import split_command
from harness.runs.states import read_metrics

ray = pytest.importorskip("ray", reason="needs the package ray")
from ray.cluster_utils import Cluster  # noqa: E402  once it is known to be there


@pytest.fixture(scope="module")
def pgpass(tmp_path_factory):
    """In place of each node's ~/.pgpass: where a password is looked for, a file that is not there yet."""
    return tmp_path_factory.mktemp("home") / "pgpass"


@pytest.fixture(scope="module")
def cluster(pgpass):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PGPASSFILE", str(pgpass))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("RAY_worker_niceness", "0")  # 15 by default, with which they wait for all else on this machine
        patch.setenv("RAY_raylet_start_wait_time_s", "300")  # 30 by default
        its = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
        yield its
        ray.shutdown()
        its.shutdown()


@pytest.fixture
def second(cluster):
    """A node beside the head, which is there until the test has ended."""
    node = cluster.add_node(num_cpus=1)
    yield node
    if node in cluster.list_all_nodes():
        cluster.remove_node(node)


@pytest.fixture
def by_ray(cluster, second):
    """The flags that name the cluster."""
    return ["--engine", "ray", "--engine_args.address", cluster.address]


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    return cross_validate(tmp_path_factory.mktemp("local"), "--jobs", "1")[1]


def test_folds_are_those_of_local_processes_though_a_process_and_a_node_are_killed(
    cluster, second, by_ray, local, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)  # the runs' folder is a relative one
    done = []

    def kill():
        writer_of(wait_for(lambda: next(tmp_path.glob("table/*/fold1/log.txt"), None))).kill()
        done.append("process")
        wait_for(lambda: next(tmp_path.glob("table/*/fold2/log.txt"), None))
        cluster.remove_node(second, allow_graceful=False)
        done.append("node")

    killer = Thread(target=kill)
    killer.start()
    _, figures = cross_validate(Path(), *by_ray)
    killer.join()
    assert done == ["process", "node"]
    assert figures == local


def test_a_command_that_is_killed_goes_on(by_ray, local, tmp_path):
    command = [sys.executable, "experiments/table.py", *FLAGS, "--run_dir", str(tmp_path), *by_ray]
    first = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    kept = wait_for(lambda: next(tmp_path.glob("table/*/fold*/predictions.npz"), None))
    first.kill()
    first.wait()
    written = kept.stat().st_mtime_ns
    assert go_on(tmp_path, *by_ray) == local
    assert kept.stat().st_mtime_ns == written


def test_a_command_that_is_interrupted_says_so(by_ray, tmp_path):
    interrupt_folds(tmp_path, "fold*/log.txt", *by_ray)


def test_a_seed_is_that_of_a_local_process(by_ray, tmp_path):
    script = ["mnist.py", "--sample", "--net", "softmax", "--accelerator", "cpu", "--max_epochs", "3"]
    for place, flags in {"here": [], "there": by_ray}.items():
        cli(repeat.main, None, split_command(["--run_dir", str(tmp_path / place), "--seeds", "1", *flags, *script]))
    here, there = (read_metrics(next(tmp_path.glob(f"{place}/repeat/*/seed0/mnist/*"))) for place in ("here", "there"))
    figures = [name for name in here if name.startswith(("test/", "val/"))]
    assert figures
    assert [here[name] for name in figures] == [there[name] for name in figures]


def test_a_sweep_does_each_trial_once_though_a_process_and_a_node_are_killed(
    cluster, second, by_ray, postgres, pgpass, tmp_path, monkeypatch
):
    here, there = tmp_path / "here", tmp_path / "there"
    _, expected = sweep_in(here)
    pgpass.write_text(f"*:*:*:*:{PASSWORD}\n")
    pgpass.chmod(0o600)
    monkeypatch.delenv("PGPASSWORD")
    done = []

    def kill():
        trial = writer_of(wait_for(lambda: next(there.glob("sweep/*/trial*/log.txt"), None)))
        next(each for each in trial.parents() if each.name().startswith("ray::")).kill()
        done.append("process")
        wait_for(lambda: len(list(there.glob("sweep/*/trial*/mnist/*/metrics.json"))) >= 3)
        cluster.remove_node(second, allow_graceful=False)
        done.append("node")

    killer = Thread(target=kill)
    killer.start()
    folder, lines = sweep_in(there, "--jobs", "2", "--storage", postgres.url, "--heartbeat", "5", *by_ray)
    killer.join()
    assert done == ["process", "node"]
    assert lines == expected
    assert len(trials_in(folder)) == TRIALS == len(lines)


def test_what_no_node_has_is_one_line(by_ray, refusal):
    line = refusal(table.main, *FLAGS, *by_ray, "--engine_args.gpus", "1", recipes=table.RECIPES)
    assert line.endswith("has cpus 1 and gpus 1")


def test_a_cluster_that_does_not_answer_is_one_line(refusal):
    ray.shutdown()
    flags = ["--engine", "ray", "--engine_args.address", "127.0.0.1:9"]
    line = refusal(table.main, *FLAGS, *flags, recipes=table.RECIPES)
    assert line == "error: --engine ray: no cluster answers at 127.0.0.1:9; ray start --head begins one"
