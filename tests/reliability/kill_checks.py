"""kill -9 at any moment, and what must be the same after `--resume`."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fingerprints import fingerprint, same
from runs_to_kill import BATCHES, Lab, Run

EPOCHS = 4
AUGMENT = ["", "crop:2,rotate:10"]


def cadences() -> list[list[str]]:
    """Checkpoints every 5 steps, every epoch, and every N steps with N an epoch."""
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
