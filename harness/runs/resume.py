"""Opening a run's directory, new or interrupted; `--resume auto` finds the interrupted one.

That is the newest run below the same directory that has the same flags in its config.yaml, can be resumed
(`states.py`) and belongs to the same user. So the same command, repeated by SLURM or torchrun, continues where it was.

A run continues with the flags, the data and the model that it was started with, except for some flags
(`kept_flags.py`). All this is checked before anything in its directory is written.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.strategies import ParallelStrategy

from basics.errors import InputError
from basics.versions import note_commit
from harness.processes.locks import locked
from harness.processes.ranks import is_rank_zero
from harness.runs.checkpoints import Checkpoint
from harness.runs.directories import find_run, new_run
from harness.runs.flag_kinds import CHANGE_NOTHING, MAY_CHANGE
from harness.runs.kept_flags import alike, check_flags_kept, short
from harness.runs.layout import CHECKPOINTS, CLAIM, CONFIG, METRICS
from harness.runs.states import State, awaits_refit, damage_of, read_config, state_of

AUTO = "auto"
OF_LAST = "EpochCheckpoint(last)"  # under which our LastCheckpoint keeps its state in checkpoints
FILES = ("best_model_path", "kth_best_model_path", "last_model_path")  # that a ModelCheckpoint keeps
CHOICE = "EXPERIMENT_CHECKPOINT"  # rank zero's checkpoint, for the ranks that Lightning starts


class Opened(NamedTuple):
    """The directory of a run that this process may write to.

    Attributes:
        folder: None if nothing is to be written.
        checkpoint: where the run continues; None for a new run.
        flags: the flags for config.yaml, as plain data; None: those that `kept_by` finds.
        is_fold: whether it is a fold's directory, in that of the run.
    """

    folder: Path | None
    checkpoint: Path | None = None
    flags: Mapping[str, Any] | None = None
    is_fold: bool = False


@contextmanager
def opened_run(
    name: str, run_dir: str, label: str, resume: str | None, flags: dict[str, Any], writes: bool = True
) -> Iterator[Opened]:
    """A new directory or that of an interrupted run; within, no other process can resume the run.

    A new directory that holds nothing but the claim at the end, as after a refusal, is removed again.

    Args:
        name: name of the experiment; `label` is for the name of a new run, see `new_run`.
        resume: a run, a checkpoint, or "auto".
        flags: what config.yaml is to hold, from `kept_by`.
        writes: whether a new run gets a directory.

    Raises:
        InputError: another process trains this run, it was started with other flags, or its files are damaged.
        MissingFileError: there is no such run.
    """
    note_commit()
    with ExitStack() as claims:
        folder, checkpoint = None, None
        if resume == AUTO:
            folder, checkpoint = _claim_unfinished(name, run_dir, flags, claims) if writes else (None, None)
        elif resume:
            folder, checkpoint = find_run(resume)
            claims.enter_context(claimed(folder))
            if damage := damage_of(folder):
                raise InputError(f"--resume {resume}: {damage}")
            check_flags_kept(folder, flags)
        begins = folder is None and writes
        if begins:
            folder = new_run(name, run_dir, label)
            claims.enter_context(claimed(folder))
        try:
            yield Opened(folder, checkpoint, flags)
        finally:
            if begins and folder and is_rank_zero():
                _remove_if_new(folder)


def _claim_unfinished(
    name: str, run_dir: str, flags: dict[str, Any], claims: ExitStack
) -> tuple[Path | None, Path | None]:
    """The run that `--resume auto` continues, which this process then holds; None if a new run is to begin."""
    if not is_rank_zero():
        return None, None
    wanted = compared(flags)
    for file in sorted((Path(run_dir) / name).glob(f"*/{CONFIG}"), reverse=True):  # names begin with the date
        run = file.parent
        ended = (run / METRICS).exists() and not (flags.get("refit") and awaits_refit(run))
        if ended or not _is_own(run):  # most runs; these need no claim
            continue
        with suppress(InputError, OSError), ExitStack() as claim:  # running elsewhere, or damaged
            claim.enter_context(claimed(run))
            goes_on = state_of(run, ours=True) is State.RESUMABLE or awaits_refit(run)
            if goes_on and compared(read_config(run)) == wanted:
                claims.enter_context(claim.pop_all())
                return find_run(str(run))
    print("no unfinished run with these flags: starting a new one", flush=True)
    return None, None


def compared(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that tell whether one command is the same as another."""
    return {name: value for name, value in flags.items() if name not in CHANGE_NOTHING}


def _is_own(path: Path) -> bool:
    return not hasattr(os, "getuid") or path.stat().st_uid == os.getuid()


@contextmanager
def claimed(run: Path) -> Iterator[None]:
    """While this context lasts, no other process can claim the run.

    Raises:
        InputError: another process has it, or its lock cannot be written.
    """
    if not is_rank_zero():
        yield
        return
    # One who only looks, see `is_claimed`, has it for a moment.
    with locked(run / CLAIM, f"{run}: another process is training this run", seconds=0.5):
        try:
            yield
        finally:
            if os.name == "posix":  # while held: a process that opened it meanwhile finds it gone, and tries again
                (run / CLAIM).unlink(missing_ok=True)


def _remove_if_new(run: Path) -> None:
    if run.is_dir() and state_of(run, ours=True) is State.NEW:
        (run / CLAIM).unlink(missing_ok=True)
        run.rmdir()


def check_same_run(checkpoint: Checkpoint, model: LightningModule, data: LightningDataModule) -> None:
    """Raises InputError if the checkpoint belongs to another data set, split or model."""
    saved = checkpoint.content
    theirs, ours = saved.get("datamodule_hyper_parameters") or {}, dict(getattr(data, "hparams", {}))
    for name in ("name", *ours):  # the name first, since it says most
        if name not in MAY_CHANGE and name in theirs and not alike(ours.get(name), theirs[name]):
            raise _differs(checkpoint.path, "data", name, ours.get(name), theirs[name])
    for name, value in model.hparams.items():
        if name in saved["hyper_parameters"] and not alike(value, saved["hyper_parameters"][name]):
            raise _differs(checkpoint.path, "model", name, value, saved["hyper_parameters"][name])


def _differs(checkpoint: Path, what: str, name: str, ours: Any, theirs: Any) -> InputError:
    return InputError(
        f"{checkpoint}: comes from a training with other {what}: {name} is {short(theirs)} there and {short(ours)} here"
    )


def follow_move(checkpoint: Checkpoint, run: Path) -> None:
    """Lets a script's own ModelCheckpoint find its files in a run that was moved or renamed, as ours do.

    Lightning would forget which of them are the best. As files are deleted by these names, none may leave the folder.
    """
    here, states = run / CHECKPOINTS, checkpoint.content.get("callbacks", {})
    saving = {key: state for key, state in states.items() if isinstance(state, dict) and "best_k_models" in state}
    before = _end(saving.get(OF_LAST, {}).get("dirpath"))
    for state in saving.values():
        if _end(state.get("dirpath")) == before:
            best = {_in_folder(here, path): score for path, score in state["best_k_models"].items()}
            paths = {name: _in_folder(here, state.get(name)) for name in FILES}
            state.update(paths, dirpath=str(here), best_k_models=best)


def _end(folder: Any) -> tuple[str, ...]:
    """The names of a run and of the folder in it; the path to them may be absolute in one state, and not in another."""
    return Path(str(folder)).parts[-2:]


def _in_folder(folder: Path, path: Any) -> str:
    return str(folder / Path(str(path)).name) if path else ""


def same_on_all_ranks(checkpoint: Path | None, resume: str | None, trainer: Trainer) -> Path | None:
    """Rank zero's checkpoint, on each rank of a run with `--resume auto`; the other ranks have not looked for one.

    Raises:
        InputError: there is no way to tell the ranks before Lightning has started them.
    """
    if resume != AUTO or trainer.world_size == 1:
        return checkpoint
    strategy = trainer.strategy
    assert isinstance(strategy, ParallelStrategy) and strategy.cluster_environment  # since there are several ranks
    if strategy.cluster_environment.creates_processes_externally:
        if CHOICE in os.environ:
            return Path(os.environ[CHOICE]) if os.environ[CHOICE] else None
        strategy.setup_environment()  # earlier than `fit` would, which then skips it
        return strategy.broadcast(checkpoint)
    if trainer.num_nodes > 1:
        raise InputError("--resume auto: on several machines, start the run by torchrun or SLURM, or name the run")
    os.environ[CHOICE] = str(checkpoint or "")
    return checkpoint
