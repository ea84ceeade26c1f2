"""torchrun with a range of machines, played by agents on this one: after the loss of one, a run goes on without it."""

import socket
import sys
import time

import psutil
import pytest
import torch
from interrupt import only_run, start

from experiments import mnist
from harness.runs.states import read_metrics

# Without random draws, which differ by rank; 1,292 training images, so that two ranks leave none out in an epoch.
CONVEX = ["--sample", "--net", "softmax", "--val_size", "145", "--accelerator", "cpu"]
FLAGS = [*CONVEX, "--max_epochs", "60", "--batch_size", "32", "--num_nodes", "2", "--devices", "1", "--resume", "auto"]


@pytest.fixture
def three_machines(monkeypatch):
    """What torchrun tells a rank."""
    for name, value in {"TORCHELASTIC_RUN_ID": "run", "GROUP_WORLD_SIZE": "3"}.items():
        monkeypatch.setenv(name, value)


def test_batches_that_cannot_be_divided_are_one_line(three_machines, refusal):
    line = refusal(mnist.main, *FLAGS, recipes=mnist.RECIPES)
    assert line == (
        "error: --batch_size 32 --num_nodes 2: torchrun has 3 machines in place of 2, and 64 cannot be divided by 3"
    )


def test_another_number_of_processes_than_the_flags_say_is_one_line(monkeypatch, refusal):
    said = {"RANK": 0, "LOCAL_RANK": 0, "GROUP_RANK": 0, "LOCAL_WORLD_SIZE": 2, "WORLD_SIZE": 4, "GROUP_WORLD_SIZE": 2}
    for name, value in {**said, "TORCHELASTIC_RUN_ID": "run", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": 1}.items():
        monkeypatch.setenv(name, str(value))
    line = refusal(mnist.main, *CONVEX, "--devices", "2", recipes=mnist.RECIPES)
    assert line == ("error: devices 2, num_nodes 1: torchrun has started 4 processes; both flags have to say how many")


def agent(port, folder):
    """One of torchrun's agents, as on a machine of its own; the one that gets the port keeps the list of all."""
    patient = "keep_alive_max_attempt=12"  # a busy machine does not look like one that is lost
    meet = ["--rdzv_backend=c10d", f"--rdzv_endpoint=localhost:{port}", f"--rdzv_conf={patient}"]
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=1:2", "--max_restarts=3", *meet]
    return start("mnist", *FLAGS, "--run_dir", str(folder), command=command, GLOO_SOCKET_IFNAME="lo")


def wait_for(found, agents):
    """Waits until it is found, while the agents run."""
    deadline = time.monotonic() + 900
    while not found():
        ended = [each for each in agents if each.poll() is not None]
        assert not ended, ended[0].communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def listener(port):
    """The process that listens at this port."""
    listening = {each.laddr.port: each.pid for each in psutil.net_connections() if each.status == "LISTEN"}
    return listening[port]


def weights_of(run):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


@pytest.mark.slow
def test_run_goes_on_by_itself_without_a_machine_that_is_lost(tmp_path):
    with socket.socket() as its:
        its.bind(("localhost", 0))
        port = its.getsockname()[1]
    agents = [agent(port, tmp_path / "part") for _ in range(2)]
    try:
        wait_for(lambda: list(tmp_path.glob("part/mnist/*/checkpoints/last.ckpt")), agents)
        lost, left = sorted(agents, key=lambda each: each.pid == listener(port))
        for process in [*psutil.Process(lost.pid).children(recursive=True), psutil.Process(lost.pid)]:
            process.kill()
        output, _ = left.communicate(timeout=1200)
        assert left.returncode == 0, output
    finally:
        for each in agents:
            each.kill()
            each.wait()
    assert "torchrun has 1 machine in place of 2: 64 samples per device, not 32" in output
    whole = start("mnist", *CONVEX, "--max_epochs", "60", "--batch_size", "64", "--run_dir", str(tmp_path / "whole"))
    assert whole.wait(900) == 0
    run, expected = only_run(tmp_path / "part"), only_run(tmp_path / "whole")
    for name in ("epochs", "steps", "test/samples"):
        assert read_metrics(run)[name] == read_metrics(expected)[name]
    for name, weight in weights_of(expected).items():
        torch.testing.assert_close(weights_of(run)[name], weight, rtol=0, atol=1e-5)  # sums in another order
