"""Checkpoints that are cut off, damaged or have no room."""

import os
import resource
import shutil
import subprocess
import tempfile
from pathlib import Path

from fingerprints import fingerprint
from kill_checks import after_batches, killed
from runs_to_kill import BATCHES, Lab, wait_for

LARGE = ["--net_args.widths", "[1500, 500]"]  # 15 MB a checkpoint: long enough to be met while it is written


def kills_during_saves(lab: Lab, count: int) -> str:
    """Kills while a checkpoint is written, with TMPDIR on another file system."""
    flags = [*LARGE, "--max_epochs", "3"]
    unloadable, left, met = 0, 0, 0
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        for number in range(count):
            run = lab.run(flags, TMPDIR=other)
            run.start()
            if number % 2:
                run.kill_when(lambda run=run: run.last.exists())  # the first is there; the next overwrites it
                run.start()
            met += run.kill_when(run.saving)
            if run.last.exists():
                try:
                    fingerprint(run.last)
                except Exception:  # whatever torch says to half a file
                    unloadable += 1
                    continue
            run.start().end()
            left += len(run.leftovers())
            shutil.rmtree(run.folder)
    assert not unloadable and not left, f"{unloadable} unloadable, {left} leftovers of {met} kills in a save"
    return f"0 unloadable and 0 leftovers of {met} kills in a save"


def damaged_checkpoints(lab: Lab, count: int) -> str:
    """A bit of last.ckpt flipped, its end cut off, or all of it: it is noticed, and the one before is used."""
    flags = ["--max_epochs", "3"]
    stopped = lab.run(flags)
    killed(stopped, after_batches(2 * BATCHES + 3))
    unnoticed = []
    for number in range(count):
        run = lab.copy(stopped)
        content = bytearray(run.last.read_bytes())
        place = lab.random.randrange(len(content))
        kind = ["bit", "bit", "cut", "empty"][number % 4]
        if kind == "bit":
            content[place] ^= 1 << lab.random.randrange(8)
        run.last.write_bytes(content if kind == "bit" else content[: place * (kind == "cut")])
        run.start().wait()
        try:
            assert [process.exitcode for process in run.processes] == [0]
            assert "last.ckpt" in run.log, "nothing is said"
            assert fingerprint(run.last) == fingerprint(lab.whole(flags).last)
        except AssertionError as error:
            unnoticed.append(f"{kind} at {place} of {len(content)}: {str(error)[:100]}")
        shutil.rmtree(run.folder)
    assert not unnoticed, f"{len(unnoticed)} of {count} not noticed or no other used, such as {unnoticed[0]}"
    return f"{count} of {count} noticed, the one before used"


def full_disk(lab: Lab, count: int) -> str:
    """No room for the next checkpoint: by a small file system where this is root's, else by a limit on file sizes."""
    for number in range(count):
        run = lab.run([*LARGE, "--max_epochs", "4"])
        mounted = os.geteuid() == 0 and number % 2 == 0 and _mount(run.folder / "runs", "80m")
        try:
            run.start()
            while not run.last.exists():
                assert run.processes[0].exitcode is None, run.log[-500:]
            if mounted:
                wait_for(lambda run=run: not run.saving() and _shrink(run.folder / "runs"))
            else:
                resource.prlimit(run.processes[0].pid, resource.RLIMIT_FSIZE, (2**20, 2**20))
            (status,) = run.wait()
            fingerprint(run.last)  # it loads
            assert status not in (0, -9), f"exit status {status}"
            said = [line for line in run.log.splitlines() if line.startswith(("error: ", "Traceback"))]
            assert len(said) == 1 and said[0].startswith("error: "), f"{len(said)} messages: {said[:2]}"
        finally:
            if mounted:
                run.kill()
                subprocess.run(["umount", "-l", str(run.folder / "runs")], check=True)
    return f"{count} of {count}: the old one loads, exit status {status}, one line"


def _mount(folder: Path, size: str) -> bool:
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    return subprocess.run(command, capture_output=True).returncode == 0


def _shrink(folder: Path) -> bool:
    """Leaves 4 MB free."""
    return _mount(folder, f"{shutil.disk_usage(folder).used + 2**22},remount")
