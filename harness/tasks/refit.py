"""`--refit`: once validation has chosen the epoch, a second training on all samples that are not for testing.

It is a run of its own, without validation: as many epochs as the best one of the first run, on the same schedule of
rates. Its figure is from the same test set, so the two say what the validation samples are worth as training samples.
An interrupted refit goes on when the first run is resumed.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar, cast

from basics.amounts import amount
from basics.errors import InputError
from basics.files import write_json
from basics.terminal import short_number
from harness.processes.ranks import is_rank_zero
from harness.runs.invocation import changed
from harness.runs.layout import METRICS
from harness.runs.names import check_name
from harness.runs.resume import compared
from harness.runs.states import read_config, read_metrics, refit_of
from harness.training.fit import Result
from harness.training.flags import FitFlags

if TYPE_CHECKING:
    from lit_modules.stages import Stages

FOR_FOLDS = {"seeds": "repeat.py trains with several seeds", "fold_seed": "", "jobs": "", "engine_args": ""}
ONE = (("seeds", 1), ("jobs", 1))  # which a single training has anyway

FlagsT = TypeVar("FlagsT", bound=FitFlags)


def with_refit(train: Callable[[FlagsT], Result], flags: FlagsT) -> Result:
    """Trains, and if the flags ask for it once more on all training samples; returns the last training's result.

    Args:
        train: makes data and model from the flags, and trains and tests the model.

    Raises:
        InputError: the first training would choose no epoch, or one that says nothing about the second; or a flag is
            for folds.
    """
    if (engine := getattr(flags, "engine", "local")) != "local":
        raise InputError(f"--engine {engine}: trains folds; a single training starts on the machine that is to do it")
    for name, instead in FOR_FOLDS.items():
        value = getattr(flags, name, None)
        if name in flags.invocation.changed and (name, value) not in ONE:
            raise InputError(f"--{name} {value}: is for --folds" + f"; {instead}" * bool(instead))
    if flags.refit:
        _check(flags)
    chosen = train(replace(flags, refit=False))  # which scripts that train once would refuse
    if not flags.refit or not chosen.run or not flags.reports:
        return chosen
    epochs = chosen.metrics["best_epoch"]
    if ended := refit_of(chosen.run) or _orphan(chosen.run, _on_all(flags, epochs)):
        if is_rank_zero():
            _link(chosen.run, ended)
            print(f"{ended}: the refit has finished too", flush=True)
        return chosen._replace(run=ended, metrics=read_metrics(ended))
    if is_rank_zero():
        said = f"{epochs} of {amount(flags.max_epochs, 'epoch')}, as validation chose"
        print(f"\nrefit on all training samples: {said}", flush=True)
    again = train(_on_all(flags, epochs))
    if is_rank_zero() and again.run:
        _link(chosen.run, again.run)
        name = cast("Stages", again.model).metrics[1]  # the first one is the loss
        if f"test/{name}" in again.metrics:
            figures = [short_number(result.metrics[f"test/{name}"]) for result in (chosen, again)]
            print(f"test/{name}: {figures[0]} with a validation split, {figures[1]} refit on all training samples")
    return again


def _orphan(run: Path, flags: FitFlags) -> Path | None:
    """A finished refit with these flags beside the run, which no run has: it was interrupted, and resumed by itself."""
    for other in sorted(file.parent for file in run.parent.glob(f"*/{METRICS}")):
        with suppress(InputError):
            free = read_metrics(other).get("refit_of") in (None, str(run))  # another rank may just have linked them
            if free and compared(read_config(other)) == compared(flags.invocation.flags):
                return other
    return None


def _link(run: Path, refit: Path) -> None:
    """Notes in the metrics of both which is whose."""
    write_json(refit / METRICS, {**read_metrics(refit), "refit_of": str(run)})
    write_json(run / METRICS, {**read_metrics(run), "refit": refit.name})


def _check(flags: FitFlags) -> None:
    if flags.monitor is None or getattr(flags, "val_size", None) == 0:
        raise InputError("--refit: needs a validation split and a --monitor, which choose the epoch")
    if flags.lr_decay == "plateau":
        raise InputError("--refit: --lr_decay plateau follows validation, which the second training does not have")
    if flags.swa:
        raise InputError(f"--refit: --swa {flags.swa:g} is a share of a run, and the second one is shorter; use --ema")
    if flags.max_epochs < 1:
        raise InputError(f"--refit: --max_epochs {flags.max_epochs} does not say how long the schedule is")
    if flags.max_steps != -1:
        raise InputError(f"--refit: --max_steps {flags.max_steps} may end the run in any epoch; use --max_epochs")
    check_name(_name(flags))


def _on_all(flags: FlagsT, epochs: int) -> FlagsT:
    """The flags of the second training, which goes on if an earlier one was interrupted."""
    alone = changed(flags, val_size=0.0, monitor=None, early_stopping=0, refit=False, name=_name(flags))
    alone = changed(alone, max_epochs=epochs, lr_epochs=flags.lr_epochs or flags.max_epochs, checkpoint_every=0)
    alone = changed(alone, max_time=None)  # which was for the first; with more samples, it would cut the second
    return replace(alone, resume="auto" if flags.resume else None)


def _name(flags: FitFlags) -> str:
    return f"{flags.name}_refit" if flags.name else "refit"
