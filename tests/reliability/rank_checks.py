"""Signals, several ranks, and ranks that fail."""

import json
import os
import signal
import time

import numpy as np
import torch
from fingerprints import fingerprint, same
from kill_checks import after_batches, cadences, killed
from runs_to_kill import Lab, Run, members, started, wait_for
from traced_mnist import RAISED

from datamodules import samples
from datamodules.arrays import write_arrays
from lit_modules import Classifier

STALL_FLAG = "--stall_timeout"  # seconds


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
        wait_for(lambda: run.lines("train") > 30 or process.poll() is not None)
        others = [pid for pid in members(process.pid) if pid != process.pid]
        since = time.monotonic()
        if to == "group":
            os.killpg(process.pid, sent)
        else:
            os.kill(process.pid if to == "main" else others[0], sent)
        wait_for(lambda: process.poll() is not None, 30)
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


def failing_ranks(lab: Lab, count: int) -> str:
    """One of two ranks raises, is killed, or stalls; `count` of these six (two ranks, three faults)."""
    failures, slowest = [], 0.0
    for kind, rank in [("raise", 1), ("die", 1), ("stall", 1), ("raise", 0), ("die", 0), ("stall", 0)][:count]:
        flags = ["--max_epochs", "20", "--devices", "2", *([STALL_FLAG, "10"] if kind == "stall" else [])]
        run = lab.run(flags, FAULT=f"{kind}:{rank}:9")
        with started(run) as process:
            wait_for(lambda run=run, process=process: run.lines("train") > 9 or process.poll() is not None)
            since = time.monotonic()
            wait_for(lambda process=process: process.poll() is not None, 45)
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
