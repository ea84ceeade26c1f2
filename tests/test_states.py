"""The states of a run's directory, and that launch, repeat, sweep, compare and cross-validation all follow them."""

from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from basics.errors import InputError
from experiments import house_prices
from harness.command_line.cli import cli
from harness.comparing import scripts
from harness.comparing.run_files import read_runs
from harness.runs.checkpoints import newest_intact
from harness.runs.resume import claimed, opened_run
from harness.runs.states import NOTHING_LOST, State, state_of
from harness.tasks import cross_validation

FLAGS = {"lr": 0.1}
CONFIG = b"lr: 0.1\n"
METRICS = b'{"val/acc": 0.9}'
EVENTS = "events.out.tfevents.1.host"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a checkpoint."""
    path = tmp_path_factory.mktemp("checkpoint") / "last.ckpt"
    torch.save({"state_dict": {}, "hyper_parameters": {}, "global_step": 3}, path)
    return path.read_bytes()


WHOLE, CUT_OFF = b"a whole checkpoint", b"one that is cut off"  # stand for those bytes
LAST, LAST_1, BEST = "checkpoints/last.ckpt", "checkpoints/last-1.ckpt", "checkpoints/best.ckpt"
ENDED_FOLD = {"fold0/predictions.npz": b"", "fold1/log.txt": b""}


class Kind(NamedTuple):
    """A directory, by its files, and what it is to be; `claims`: while a process holds it."""

    files: dict[str, bytes]
    state: State
    claims: bool = False


KINDS = {
    "empty": Kind({}, State.NEW),
    "claim of a killed process": Kind({".lock": b""}, State.NEW),
    "just claimed": Kind({}, State.RUNNING, claims=True),
    "claimed with a checkpoint": Kind({"config.yaml": CONFIG, LAST: WHOLE}, State.RUNNING, claims=True),
    "finished and claimed": Kind({"config.yaml": CONFIG, "metrics.json": METRICS, LAST: WHOLE}, State.RUNNING, True),
    "damaged and claimed": Kind({"config.yaml": b"lr: [", LAST: WHOLE}, State.RUNNING, claims=True),
    "flags only": Kind({"config.yaml": CONFIG, EVENTS: b""}, State.CUT_SHORT),
    "no flags and no checkpoint": Kind({EVENTS: b""}, State.CUT_SHORT),
    "only checkpoint cut off": Kind({"config.yaml": CONFIG, LAST: CUT_OFF}, State.CUT_SHORT),
    "damaged flags and no checkpoint": Kind({"config.yaml": b"lr: [", EVENTS: b""}, State.CUT_SHORT),
    "interrupted": Kind({"config.yaml": CONFIG, LAST: WHOLE, ".lock": b""}, State.RESUMABLE),
    "last cut off, best whole": Kind({"config.yaml": CONFIG, LAST: CUT_OFF, BEST: WHOLE}, State.RESUMABLE),
    "last cut off, the one before whole": Kind({"config.yaml": CONFIG, LAST: CUT_OFF, LAST_1: WHOLE}, State.RESUMABLE),
    "fold begun": Kind({"config.yaml": CONFIG, "fold0/log.txt": b""}, State.RESUMABLE),
    "fold ended": Kind({"config.yaml": CONFIG, **ENDED_FOLD}, State.RESUMABLE),
    "finished": Kind({"config.yaml": CONFIG, "metrics.json": METRICS, LAST: WHOLE, BEST: WHOLE}, State.FINISHED),
    "folds finished": Kind({"config.yaml": CONFIG, "metrics.json": METRICS, **ENDED_FOLD}, State.FINISHED),
    "finished, then interrupted in more epochs": Kind(
        {"config.yaml": CONFIG, "metrics-1.json": METRICS, LAST: WHOLE, BEST: WHOLE}, State.RESUMABLE
    ),
    "damaged flags": Kind({"config.yaml": b"lr: [", LAST: WHOLE}, State.BROKEN),
    "flags that are none": Kind({"config.yaml": b"7\n", LAST: WHOLE}, State.BROKEN),
    "no flags": Kind({LAST: WHOLE, EVENTS: b""}, State.BROKEN),
    "no flags, but a fold that ended": Kind({**ENDED_FOLD, EVENTS: b""}, State.BROKEN),
    "no flags, but metrics": Kind({"metrics.json": METRICS}, State.BROKEN),
    "damaged flags, but metrics": Kind({"config.yaml": b"\xff", "metrics.json": METRICS, LAST: WHOLE}, State.BROKEN),
    "damaged metrics": Kind({"config.yaml": CONFIG, "metrics.json": b'{"val/a', LAST: WHOLE}, State.BROKEN),
    "metrics that are none": Kind({"config.yaml": CONFIG, "metrics.json": b"[" * 99_999, LAST: WHOLE}, State.BROKEN),
    "another checkpoint only": Kind({"config.yaml": CONFIG, "checkpoints/mine.ckpt": WHOLE}, State.BROKEN),
}


@pytest.fixture(params=KINDS)
def kind(request):
    return KINDS[request.param]


@pytest.fixture
def run(kind, tmp_path, whole):
    """The directory, below the folder of a seed or a trial."""
    run = tmp_path / "trial" / "mnist" / "2026-01-01_00-00-00_x"
    run.mkdir(parents=True)
    for name, content in kind.files.items():
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_bytes({WHOLE: whole, CUT_OFF: whole[:-40]}.get(content, content))
    with ExitStack() as claims:
        if kind.claims:
            claims.enter_context(claimed(run))
        yield run


def contents(run):
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != ".lock"}


def test_state_is_that_of_the_files(kind, run):
    assert state_of(run) == kind.state


def test_state_beside_ones_own_claim_is_that_without_it(kind, run):
    if not kind.claims:
        with claimed(run):
            assert state_of(run) == State.RUNNING
            assert state_of(run, ours=True) == kind.state


def test_auto_goes_on_with_a_resumable_run_and_touches_no_other(kind, run):
    before = contents(run)
    with opened_run("mnist", str(run.parents[1]), "x", "auto", FLAGS) as opened:
        assert (opened.folder == run) == (kind.state is State.RESUMABLE)
        assert contents(run) == before
    assert contents(run) == before
    assert list(run.parent.iterdir()) == [run]  # a new one has nothing in it, and is gone


def test_launch_goes_on_with_a_run_that_is_named_where_auto_would_and_where_it_has_finished(kind, run):
    before = contents(run)
    goes_on = kind.state in (State.RESUMABLE, State.FINISHED)
    with ExitStack() as stack:
        if not goes_on:
            stack.enter_context(pytest.raises(InputError, match=run.name))
        opened = stack.enter_context(opened_run("mnist", str(run.parents[1]), "x", str(run), FLAGS))
        assert opened.folder == run
        if opened.checkpoint:
            assert newest_intact(opened.checkpoint).path.is_relative_to(run)
        else:
            assert list(run.glob("fold*"))
    assert contents(run) == before


def test_repeat_and_sweep_resume_what_launch_does_and_remove_only_what_holds_nothing(kind, run, monkeypatch):
    folder, before, started = run.parents[1], contents(run), []
    monkeypatch.setattr(scripts, "_process", lambda script, arguments, *_: started.append(arguments))
    assert scripts.finished(folder) == (run if kind.state is State.FINISHED else None)
    assert scripts.unfinished(folder) == (run if kind.state is State.RESUMABLE else None)
    scripts.start(Path("mnist.py"), [], folder)
    # Of a run that is not let go of, the script says in one line that another process trains it.
    resumed = ["--resume", str(run)] if kind.state in (State.RESUMABLE, State.RUNNING) else []
    assert started == [["--run_dir", str(folder), *resumed]]
    assert run.exists() == (kind.state not in NOTHING_LOST)
    assert not run.exists() or contents(run) == before


def test_compare_says_of_each_what_the_others_do(kind, run):
    said = {
        State.RUNNING: "running now",
        State.CUT_SHORT: "unfinished: it ended before its first checkpoint",
        State.RESUMABLE: "interrupted; --resume goes on",
    }
    if not any(name in kind.files for name in ("config.yaml", "metrics.json", EVENTS)):
        with pytest.raises(FileNotFoundError, match="there are no runs"):
            read_runs([run.parents[1]])
        return
    ((_, _, _, _, problem),) = read_runs([run.parents[1]])
    assert (problem == "") == (kind.state is State.FINISHED)
    assert problem.startswith(said.get(kind.state, ""))
    if kind.state is State.BROKEN:
        assert "config.yaml" in problem or "metrics.json cannot be read" in problem or "is whole" in problem


def test_waiting_for_a_claim_ends_with_it(tmp_path):
    run = tmp_path / "mnist" / "run"
    run.mkdir(parents=True)
    with claimed(run):
        scripts.await_claims(tmp_path, seconds=0.2)
        assert state_of(run) is State.RUNNING
    scripts.await_claims(tmp_path, seconds=1e9)  # at once


@pytest.mark.parametrize("kept", [{}, {"log.txt": b"", "checkpoints/last.ckpt": CUT_OFF}, {"predictions.npz": b""}])
def test_refused_cross_validation_is_removed_unless_a_fold_has_ended(kept, tmp_path, whole, monkeypatch, capsys):
    def refused(*args, **_):
        run = next(arg for arg in args if isinstance(arg, Path))
        if run.name == "fold1":
            raise InputError("fold1 is refused")
        for name, content in kept.items():
            (run / name).parent.mkdir(exist_ok=True, parents=True)
            (run / name).write_bytes(whole[:-40] if content is CUT_OFF else content)

    monkeypatch.setattr(cross_validation, "train_fold", refused)
    flags = "--sample --accelerator cpu --net linear --folds 2 --jobs 1 --pictures false".split()
    with pytest.raises(SystemExit):
        cli(house_prices.main, house_prices.RECIPES, [*flags, "--run_dir", str(tmp_path)])
    assert "fold1 is refused" in capsys.readouterr().err
    runs = list((tmp_path / "house_prices").iterdir())
    assert len(runs) == ("predictions.npz" in kept)
    assert all(state_of(run) is State.RESUMABLE for run in runs)
