"""Folds on a Ray cluster of two nodes, which are processes here: the local engine's figures, whatever is killed."""

from pathlib import Path
from threading import Thread

import psutil
import pytest
from fold_runs import FLAGS, cross_validate, wait_for

from experiments import table

ray = pytest.importorskip("ray", reason="needs the package ray")
from ray.cluster_utils import Cluster  # noqa: E402  once it is known to be there


@pytest.fixture(scope="module")
def by_ray():
    """The flags that name the cluster."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        cluster.add_node(num_cpus=1)
        yield ["--engine", "ray", "--engine_args.address", cluster.address]
        ray.shutdown()
        cluster.shutdown()


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    return cross_validate(tmp_path_factory.mktemp("local"), "--jobs", "1")[1]


def test_ray_gives_the_figures_of_local_processes_though_one_is_killed(by_ray, local, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    killed = []

    def kill():
        wait_for(lambda: next(tmp_path.glob("table/*/fold1/log.txt"), None))
        killed.append(next(its for its in psutil.process_iter() if "ray::answer" in its.name()))
        killed[0].kill()

    killer = Thread(target=kill)
    killer.start()
    _, figures = cross_validate(Path(), *by_ray)
    killer.join()
    assert killed
    assert figures == local


def test_what_no_node_has_is_one_line(by_ray, refusal):
    line = refusal(table.main, *FLAGS, *by_ray, "--engine_args.gpus", "1", recipes=table.RECIPES)
    assert line.endswith("has cpus 1 and gpus 1")


def test_a_cluster_that_does_not_answer_is_one_line(refusal):
    ray.shutdown()
    flags = ["--engine", "ray", "--engine_args.address", "127.0.0.1:9"]
    line = refusal(table.main, *FLAGS, *flags, recipes=table.RECIPES)
    assert line == "error: --engine ray: no cluster answers at 127.0.0.1:9; ray start --head begins one"
