"""What the long run shows: each check is a function of how often it is tried, and raises AssertionError at a failure.

It returns what it found, for the table of docs/reliability.md.
"""

import inspect
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from launch import fit_in

import numpy as np
import torch
from runs_to_kill import BATCHES, Lab, Run, fingerprint, members, same, started
from traced_mnist import RAISED

from datamodules import samples
from datamodules.arrays import write_arrays
from lit_modules import Classifier

ROOT = Path(__file__).resolve().parents[2]
EPOCHS = 4
AUGMENT = ["", "crop:2,rotate:10"]
STALL_FLAG = "--stall_timeout"  # seconds
LARGE = ["--net_args.widths", "[1500, 500]"]  # 15 MB a checkpoint: long enough to be met while it is written


def cadences() -> list[list[str]]:
    """Checkpoints every 5 steps, every epoch, and every N steps with N an epoch."""
    if "checkpoint_every" not in inspect.signature(fit_in).parameters:
        return [[]]  # every epoch is all that there is
    return [["--checkpoint_every", "5"], [], ["--checkpoint_every", str(BATCHES)]]


def killed(run: Run, moment: Callable[[Run], Callable[[], bool]]) -> None:
    """Starts the run and kills it at that moment, if it does not end before."""
    run.start().kill_when(moment(run))


def after_batches(count: int) -> Callable[[Run], Callable[[], bool]]:
    return lambda run: lambda: run.lines("train") >= count


def in_validation(run: Run) -> Callable[[], bool]:
    before = run.lines("val")
    return lambda: run.lines("val") > before


def in_saving(run: Run) -> Callable[[], bool]:
    return run.saving


@contextmanager
def noting(failures: list[str]) -> Iterator[None]:
    """Goes on after a failure, of which the first line is kept."""
    try:
        yield
    except AssertionError as error:
        failures.append(str(error).splitlines()[0][:200])


def kills_at_random_steps(lab: Lab, count: int) -> str:
    """kill -9 at a random step, then --resume."""
    base = ["--max_epochs", str(EPOCHS), "--lr_decay", "cosine"]
    axes = [
        [*base, *cadence, "--augment", augment, "--accumulate_grad_batches", accumulate]
        for accumulate in ("1", "2")
        for augment in AUGMENT
        for cadence in cadences()
    ]
    failures: list[str] = []
    for number in range(count):
        flags = axes[number % len(axes)]
        run = lab.run(flags)
        with noting(failures):
            killed(run, after_batches(lab.random.randrange(1, EPOCHS * BATCHES)))
            same(run.start().end(), lab.whole(flags))
    assert not failures, f"{len(failures)} of {count} are not: {failures[0]}"
    return f"{count} of {count} identical; cadences: {', '.join(' '.join(c) or 'every epoch' for c in cadences())}"


def several_kills(lab: Lab, count: int) -> str:
    """One to four kills in one run, at random steps, in validation and while a checkpoint is written."""
    flags = ["--max_epochs", "6", "--lr_decay", "cosine", "--augment", "crop:2", *cadences()[0]]
    kills, failures = 0, []
    for number in range(count):
        run = lab.run(flags)
        with noting(failures):
            for kill in range(1 + number % 4):
                moments = [after_batches(run.lines("train") + lab.random.randrange(10, 40)), in_validation, in_saving]
                killed(run, moments[(number + kill) % 3])
                kills += 1
            same(run.start().end(), lab.whole(flags))
    assert not failures, f"{len(failures)} of {count} are not: {failures[0]}"
    return f"{count} of {count} identical after {kills} kills"


def callbacks_after_kills(lab: Lab, count: int) -> str:
    """Plateau decay, early stopping and the best epochs after four kills."""
    flags = "--max_epochs 30 --lr 0.2 --lr_decay plateau --lr_patience 0 --monitor val/loss --early_stopping 3".split()
    flags += ["--ema", "0.9", *cadences()[0]]
    whole = lab.whole(flags)
    epochs = json.loads((whole.directory / "metrics.json").read_text())["epochs"]
    for _ in range(count):
        run = lab.run(flags)
        for kill in range(1, 5):
            killed(run, after_batches(kill * epochs * BATCHES // 6 + lab.random.randrange(BATCHES)))
        same(run.start().end(), whole)
        files = [sorted(path.name for path in it.last.parent.iterdir()) for it in (run, whole)]
        assert files[0] == files[1], files
    state = fingerprint(whole.last)
    waited = next(value for key, value in state.items() if key.endswith("/wait_count"))
    rate = next(value for key, value in state.items() if key.endswith("/lr"))
    return f"{count} of {count}: stopped after {epochs} epochs, wait count {waited}, rate {float(rate):g}"


def curves_after_kills(lab: Lab, count: int) -> str:
    """TensorBoard's points after two kills: none missing, none twice."""
    flags = ["--max_epochs", str(EPOCHS), *cadences()[0]]
    for _ in range(count):
        run, whole = lab.run(flags), lab.whole(flags)
        for first in (0, 2):
            killed(run, after_batches((first + 1) * BATCHES + lab.random.randrange(BATCHES)))
        ours, theirs = run.start().end().curves(), whole.curves()
        wrong = {name: sorted(set(ours[name]) ^ set(theirs[name]))[:2] for name in theirs if ours[name] != theirs[name]}
        assert not wrong, f"points missing or twice: {wrong}"
    return f"{count} of {count} equal"


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
                _wait(lambda run=run: not run.saving() and _shrink(run.folder / "runs"))
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


def signals(lab: Lab, count: int) -> str:
    """TERM and INT to the main process, its group and a rank, on one rank and two; `count` of these ten."""
    cases = [(1, "main"), (2, "rank 1"), (2, "group"), (2, "main"), (1, "group")]
    cases = [(ranks, to, sent) for ranks, to in cases for sent in (signal.SIGTERM, signal.SIGINT)][:count]
    slowest, failures = 0.0, []
    for ranks, to, sent in cases:
        flags = ["--max_epochs", "20", "--batch_size", str(64 // ranks), "--devices", str(ranks)]
        run = lab.run(flags)
        try:
            slowest = max(slowest, _signalled(run, to, sent))
            fingerprint(run.last)  # it loads
            with started(run) as process:
                assert process.wait() == 0, run.log[-500:]
            same(run, _started_whole(lab, flags))
        except (AssertionError, OSError) as error:
            failures.append(f"{sent.name} to {to} of {ranks}: {str(error)[:150]}")
    assert not failures, "; ".join(failures)
    return f"{len(cases)} of {len(cases)}: exit status 143 or 130 within {slowest:.1f} s, exact resume"


def _signalled(run: Run, to: str, sent: signal.Signals) -> float:
    """Starts the run, sends the signal, checks how it ends, and returns after how many seconds."""
    with started(run) as process:
        _wait(lambda: run.lines("train") > 30 or process.poll() is not None)
        others = [pid for pid in members(process.pid) if pid != process.pid]
        since = time.monotonic()
        if to == "group":
            os.killpg(process.pid, sent)
        else:
            os.kill(process.pid if to == "main" else others[0], sent)
        _wait(lambda: process.poll() is not None, 30)
        seconds, status = time.monotonic() - since, process.poll()
        time.sleep(0.5)
        survivors = members(process.pid)
    assert status == 128 + sent, f"exit status {status}"
    assert seconds < 15, f"{seconds:.0f} s"
    assert not survivors, f"{len(survivors)} processes go on"
    return seconds


def _started_whole(lab: Lab, flags: list[str]) -> Run:
    key = ("started", *flags)
    if key not in lab._whole:
        run = lab._whole[key] = lab.run(flags)
        with started(run) as process:
            assert process.wait() == 0, run.log[-500:]
    return lab._whole[key]


def _wait(moment: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not moment() and time.monotonic() < deadline:
        time.sleep(0.02)


def failing_ranks(lab: Lab, count: int) -> str:
    """One of two ranks raises, is killed, or stalls; `count` of these six (two ranks, three faults)."""
    failures, slowest = [], 0.0
    for kind, rank in [("raise", 1), ("die", 1), ("stall", 1), ("raise", 0), ("die", 0), ("stall", 0)][:count]:
        flags = ["--max_epochs", "20", "--devices", "2", *([STALL_FLAG, "10"] if kind == "stall" else [])]
        run = lab.run(flags, FAULT=f"{kind}:{rank}:9")
        with started(run) as process:
            _wait(lambda run=run, process=process: run.lines("train") > 9 or process.poll() is not None)
            since = time.monotonic()
            _wait(lambda process=process: process.poll() is not None, 45)
            seconds, status = time.monotonic() - since, process.poll()
            time.sleep(0.5)
            survivors = members(process.pid)
        slowest = max(slowest, seconds)
        if status in (None, 0, 2) or seconds > 30 or survivors:
            failures.append(f"{kind} on {rank}: status {status}, {seconds:.0f} s, {len(survivors)} go on")
        elif kind == "raise" and RAISED not in run.log:
            failures.append(f"{kind} on {rank}: no traceback")
    assert not failures, "; ".join(failures)
    return f"{count} of {count}: non-zero within {slowest:.1f} s, the traceback shown"


def two_ranks(lab: Lab, count: int) -> str:
    """Two ranks as one on the same global batches; two ranks that are killed, as two that are not."""
    base = ["--max_epochs", "3", "--augment", ""]
    plain = ["--net_args.dropout", "0"]
    one = lab.whole([*base, *plain, "--batch_size", "68"])  # 1,292 images are 19 batches of 68
    two = lab.whole([*base, *plain, "--batch_size", "34", "--devices", "2"], ranks=2)
    states = [torch.load(run.last, weights_only=True)["state_dict"] for run in (one, two)]
    largest = max(float((states[0][name] - states[1][name]).abs().max()) for name in states[0])
    assert largest <= 1e-6, f"weights differ by {largest:.1e}"
    flags = [*base, "--augment", "crop:2", "--batch_size", "34", "--devices", "2", *cadences()[0]]
    for _ in range(count):
        run = lab.run(flags, ranks=2)
        killed(run, after_batches(lab.random.randrange(22, 50)))
        same(run.start().end(), lab.whole(flags, ranks=2))
    return f"largest difference {largest:.1e}; {count} of {count} killed and identical"


def evaluation(lab: Lab, count: int) -> str:
    """Test sets of 1, 2, 7 and 101 images on two ranks; `count` of these."""
    digits = samples.digits()
    for size in (1, 2, 7, 101)[:count]:
        folder = lab.folder / f"digits{size}"
        images, labels = digits.test_images[:size], digits.test_labels[:size]
        write_arrays(folder / "mnist", digits._replace(test_images=images, test_labels=labels))
        run = lab.run(["--max_epochs", "1", "--sample", "false", "--data_dir", str(folder), "--devices", "2"], ranks=2)
        run.start().end()
        metrics = json.loads((run.directory / "metrics.json").read_text())
        model = Classifier.load_from_checkpoint(run.last.with_name("best.ckpt"), map_location="cpu").eval()
        with torch.no_grad():
            logits = model(torch.from_numpy(images)[:, None] / 255).double()
        shares = logits.log_softmax(1).numpy()
        loss, acc = -np.mean(shares[np.arange(size), labels]), np.mean(shares.argmax(1) == labels)
        assert metrics["test/samples"] == size
        assert abs(metrics["test/loss"] - loss) < 2e-6 * max(1, loss), (metrics["test/loss"], loss)  # six digits
        assert abs(metrics["test/acc"] - acc) < 1e-6, (metrics["test/acc"], acc)
    return f"{count} of {count}: each image once, loss and accuracy as computed by hand"


def starts_at_once(lab: Lab, count: int) -> str:
    """Runs of one name started at once."""
    runs = [lab.run(["--max_epochs", "1"]) for _ in range(count)]
    for run in runs:
        run.flags[-1] = str(runs[0].folder / "runs")
        run.start()
    for run in runs:
        run.end()
    directories = list(runs[0].folder.glob("runs/*/*"))
    assert len(directories) == count, f"{len(directories)} directories"
    return f"{count} runs, {count} directories"


def downloads_at_once(lab: Lab, count: int) -> str:
    """Four processes downloading at once, and broken downloads, see tests/test_download.py; `count` times."""
    return _tests("test_download.py", count)


def hostile_files(lab: Lab, count: int) -> str:
    """Malicious checkpoints, configs, archives, pickles, images, tables; see tests/test_hostile_files.py."""
    return "0 executions, 0 escapes; " + _tests("test_hostile_files.py", count)


def _tests(file: str, times: int) -> str:
    for _ in range(times):
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/{file}"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        last = done.stdout.strip().splitlines()[-1]
        assert done.returncode == 0, last
    return last.strip("= ").partition(" in ")[0]


def memory(lab: Lab, count: int) -> str:
    """The shape of a long run: `count` thousand steps, with a validation and checkpoints every 21."""
    steps = 1000 * count
    run = lab.run(["--max_epochs", str(steps // BATCHES)])
    run.start()
    pid, sizes, files = run.processes[0].pid, [], []
    while run.processes[0].exitcode is None:
        try:
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            sizes.append(pages * resource.getpagesize() / 2**20)
            files.append(len(list(Path(f"/proc/{pid}/fd").iterdir())))
        except (OSError, IndexError):  # it has just ended
            break
        time.sleep(0.05)
    run.end()
    third, tenth = len(sizes) // 3, len(sizes) // 10
    early, late = np.median(sizes[third : third + tenth]), np.median(sizes[-tenth:])
    opened = max(files[third : 2 * third]), max(files[-third:])
    found = f"{steps:,} steps: {early:.1f} MiB after a third, {late:.1f} at the end; {opened[0]} and {opened[1]} files"
    assert late <= 1.02 * early and opened[1] <= opened[0], found
    return found


class Check(NamedTuple):
    """A row of the table."""

    name: str
    criterion: str
    function: Callable[[Lab, int], str]
    short: int  # tries in `make test`; 0: none
    long: int  # in `make torture`


CHECKS = [
    Check("kill -9 at random steps", "weights, optimizer, loss and batch of each step identical",
          kills_at_random_steps, 2, 100),
    Check("1 to 4 kills in one run; in validation; in a save", "identical", several_kills, 2, 20),
    Check("plateau, early stopping, best epoch after 4 kills", "equal rate, wait count, files",
          callbacks_after_kills, 1, 5),
    Check("TensorBoard's curves after 2 kills", "no point missing, none twice", curves_after_kills, 1, 10),
    Check("kill in a save, TMPDIR on another file system", "0 unloadable, 0 leftovers", kills_during_saves, 2, 50),
    Check("bit flips, truncations, empty files", "all noticed, the one before used", damaged_checkpoints, 4, 300),
    Check("full disk", "old checkpoint loads, exit status not 0, one line", full_disk, 1, 4),
    Check("TERM, INT to main, group, rank 1 of 1, 2 ranks", "143 or 130, < 15 s, loadable, no survivors, exact resume",
          signals, 1, 10),
    Check("one rank raises, dies, stalls", "not 0 within 30 s, original traceback", failing_ranks, 0, 6),
    Check("2 ranks", "1 rank's weights <= 1e-6; identical after a kill", two_ranks, 0, 5),
    Check("evaluation of 1, 2, 7, 101 images on 2 ranks", "each once, exact", evaluation, 1, 4),
    Check("8 runs started at once", "8 directories", starts_at_once, 2, 8),
    Check("4 processes downloading at once", "one valid copy, downloaded once", downloads_at_once, 0, 5),
    Check("hostile files", "0 executions, 0 escapes", hostile_files, 0, 1),
    Check("20,000 steps", "memory < 2 % growth after warm-up, no more open files", memory, 0, 20),
]  # fmt: skip
