"""Children end with the process that started them, even after SIGKILL: by prctl, or elsewhere by a thread."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from basics.errors import InputError
from harness.processes.children import killed_on_exit, lead_group, stop, stop_all

ROOT = Path(__file__).parents[1]
PLATFORMS = [sys.platform, "one without prctl"]
pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs signals and groups of processes")

# Starts a child by multiprocessing, which starts one itself; both numbers are printed.
STARTER = """
import multiprocessing, subprocess, sys, time
from harness.processes import children

def child(platform, leads):
    sys.platform = platform
    if leads:
        children.lead_group()
    children.end_with_starter()
    grandchild = subprocess.Popen(["sleep", "100"])
    print(multiprocessing.current_process().pid, grandchild.pid, flush=True)
    time.sleep(100)

if __name__ == "__main__":
    method, platform, leads = sys.argv[1:]
    context = multiprocessing.get_context(method)
    process = context.Process(target=child, args=(platform, leads == "leads"))
    process.start()
    process.join()
"""

# What Lightning does with ranks: the same program again, by subprocess.
LAUNCHER = """
import os, subprocess, sys, time
if len(sys.argv) == 2:
    rank = subprocess.Popen([sys.executable, __file__, sys.argv[1], str(os.getpid())])
    rank.wait()
from harness.processes import children
sys.platform = sys.argv[1]
children.end_with_parent(int(sys.argv[2]))
print(os.getpid(), flush=True)
time.sleep(100)
"""


@pytest.fixture
def started(tmp_path):
    """Starts a program, and returns its process and the numbers of those that it has started."""
    programs, numbers = [], []

    def start(source, *args):
        script = tmp_path / "program.py"
        script.write_text(source)
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        programs.append(subprocess.Popen([sys.executable, script, *args], stdout=subprocess.PIPE, env=env))
        numbers.extend(map(int, programs[-1].stdout.readline().split()))
        return programs[-1], numbers

    yield start
    for program in programs:
        program.kill()
        program.wait()
        program.stdout.close()
    for number in filter(is_alive, numbers):
        os.kill(number, signal.SIGKILL)


def is_alive(number):
    return psutil.pid_exists(number) and psutil.Process(number).status() != psutil.STATUS_ZOMBIE


def ended(*numbers, seconds=10.0):
    deadline = time.monotonic() + seconds
    while any(map(is_alive, numbers)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(map(is_alive, numbers))


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_child_of_multiprocessing_ends_with_its_starter(started, method, platform):
    program, (child, _) = started(STARTER, method, platform, "alone")
    assert is_alive(child)
    program.kill()
    assert ended(child)


def test_script_ends_with_all_that_it_has_started(started):
    program, (child, grandchild) = started(STARTER, "forkserver", sys.platform, "leads")
    assert is_alive(grandchild)
    program.kill()
    assert ended(child, grandchild)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_rank_ends_with_its_launcher(started, platform):
    program, (rank,) = started(LAUNCHER, platform)
    assert is_alive(rank)
    program.kill()
    assert ended(rank)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_rank_whose_launcher_is_gone_ends_at_once(started, platform):
    program, numbers = started(LAUNCHER, platform, "1")  # not the number of its parent
    assert program.wait(10) == 1
    assert numbers == []


def sleep_in_a_group(pipe, deaf):
    lead_group()
    if deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pipe.send(subprocess.Popen(["sleep", "100"]).pid)
    time.sleep(100)


@pytest.mark.parametrize("deaf", [False, True])
def test_stop_ends_a_group_that_is_asked_first(deaf):
    receiver, sender = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=sleep_in_a_group, args=(sender, deaf))
    process.start()
    grandchild = receiver.recv()
    stop(process, 0.5)
    assert process.exitcode == (-signal.SIGKILL if deaf else -signal.SIGTERM)
    assert ended(grandchild)


def test_several_have_the_time_to_stop_together():
    receiver, sender = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=sleep_in_a_group, args=(sender, False)) for _ in range(3)]
    for process in processes:
        process.start()
    grandchildren = [receiver.recv() for _ in processes]
    stop_all(processes)
    assert [process.exitcode for process in processes] == [-signal.SIGTERM] * 3
    assert all(map(ended, grandchildren))


def test_only_what_was_started_within_is_killed_and_only_by_an_exit_or_bad_input():
    context = multiprocessing.get_context("fork")
    before, spared = (context.Process(target=time.sleep, args=(100,)) for _ in range(2))
    before.start()
    with pytest.raises(ValueError, match="no exit"), killed_on_exit():
        spared.start()
        raise ValueError("no exit")
    for error in (SystemExit(143), InputError("--lr x: no")):
        within = context.Process(target=time.sleep, args=(100,))
        with pytest.raises(type(error)), killed_on_exit():
            within.start()
            raise error
        within.join(10)
        assert within.exitcode == -signal.SIGKILL
    assert before.is_alive()
    assert spared.is_alive()
    for process in (before, spared):
        process.kill()
        process.join()
