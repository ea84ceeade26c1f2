"""Two machines, played by two connected network namespaces: a run over both, the loss of one, and an exact resume."""

import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import count

import psutil
import pytest
from interrupt import SMALL, assert_same_weights, only_run, start

FLAGS = [*SMALL, "--max_epochs", "60", "--devices", "1", "--num_nodes", "2"]
LAUNCHER = "--master_addr=10.77.0.1 --master_port={port} --nnodes=2 --nproc_per_node=1 --node_rank={rank}"
PORTS = count(29700)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.platform != "linux" or os.geteuid() != 0 or not shutil.which("ip"),
        reason="network namespaces need Linux, root and iproute2",
    ),
]


def ip(words):
    subprocess.run(["ip", *words.split()], check=True, capture_output=True)


@pytest.fixture
def hosts():
    """The names of two namespaces, 10.77.0.1 and 10.77.0.2, with nothing but the cable between them."""
    names = [f"host{os.getpid()}-{rank}" for rank in range(2)]
    try:
        for name in names:
            ip(f"netns add {name}")
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    ip(f"link add cable0 netns {names[0]} type veth peer name cable1 netns {names[1]}")
    for rank, name in enumerate(names):
        ip(f"-n {name} address add 10.77.0.{rank + 1}/24 dev cable{rank}")
        ip(f"-n {name} link set cable{rank} up")
        ip(f"-n {name} link set lo up")
    yield names
    for name in names:
        for pid in subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout.split():
            os.kill(int(pid), signal.SIGKILL)
        ip(f"netns delete {name}")


def start_on(hosts, folder, launcher, resume="auto"):
    """Starts a run over both hosts, by torchrun or by the script itself on each."""
    port, processes = next(PORTS), []
    for rank, name in enumerate(hosts):
        command = ["ip", "netns", "exec", name, sys.executable]
        env = {"GLOO_SOCKET_IFNAME": f"cable{rank}"}
        if launcher == "torchrun":
            command += ["-m", "torch.distributed.run", *LAUNCHER.format(port=port, rank=rank).split()]
        else:
            env |= {"MASTER_ADDR": "10.77.0.1", "MASTER_PORT": str(port), "NODE_RANK": str(rank)}
        flags = [*FLAGS, "--run_dir", str(folder), *(["--resume", resume] if resume else [])]
        processes.append(start("mnist", *flags, command=command, **env))
    return processes


def wait_for(process, text):
    output = ""
    for line in process.stdout:
        output += line
        if text in line:
            return
    raise AssertionError(f"{text!r} is not in {output}")


def end_of(processes):
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs


@pytest.mark.parametrize("lost", [0, 1])
def test_run_over_two_hosts_goes_on_exactly_after_the_loss_of_one(tmp_path, hosts, lost):
    end_of(start_on(hosts, tmp_path / "whole", "torchrun"))
    processes = start_on(hosts, tmp_path / "part", "torchrun")
    wait_for(processes[0], "epoch 5")
    for pid in subprocess.run(["ip", "netns", "pids", hosts[lost]], capture_output=True, text=True).stdout.split():
        os.kill(int(pid), signal.SIGKILL)
    started = time.monotonic()
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert processes[1 - lost].returncode != 0, outputs
    assert time.monotonic() - started < 45  # torchrun gives its process 30 s to end
    end_of(start_on(hosts, tmp_path / "part", "torchrun"))
    part = only_run(tmp_path / "part")  # the same run
    assert_same_weights(part, only_run(tmp_path / "whole"))


def test_script_started_on_each_host_ends_by_a_signal_to_one_and_goes_on(tmp_path, hosts):
    processes = start_on(hosts, tmp_path / "part", "itself", resume=None)
    wait_for(processes[0], "epoch 5")
    psutil.Process(processes[1].pid).send_signal(signal.SIGTERM)
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [143, 143], outputs
    run = only_run(tmp_path / "part")
    end_of(start_on(hosts, tmp_path / "part", "itself", resume=str(run)))
    end_of(start_on(hosts, tmp_path / "whole", "itself", resume=None))
    assert_same_weights(run, only_run(tmp_path / "whole"))
