"""What every experiment ends with: training a model in a run's directory and testing it, or examining it.

    @dataclass(frozen=True, kw_only=True)
    class Flags(FitFlags):
        ...

    def main(flags: Flags = Flags()):
        fit_and_test("name", model, data, flags)

    if __name__ == "__main__":
        cli(main)

Scripts call functions; the only classes that they inherit from are those of flags.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

from lightning.pytorch import Callback, LightningDataModule, LightningModule
from lightning.pytorch.loggers import Logger

from basics.errors import InputError
from datamodules.batch_module import BatchModule
from harness.runs.invocation import changed, kept_by, type_name
from harness.runs.names import run_label
from harness.runs.resume import opened_run
from harness.training.fit import Job, Result, fit_in, warming_up_in_time
from harness.training.flags import FitFlags, deciding_by_validation
from harness.training.trainer import Extras, keep_freed_memory
from lit_modules.stages import Stages

DEFAULTS = FitFlags()


def fit_and_test(
    name: str,
    model: LightningModule,
    data: LightningDataModule,
    flags: FitFlags = DEFAULTS,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
) -> Result:
    """Trains in a run directory, new or resumed, and tests the best epoch once; with `doctor`, only examines it.

    Args:
        name: name of the experiment, and of the directory of its runs.
        model: one of ours, or any other; docs/coming_from.md says what these get.
        callbacks: the script's own, besides ours; a resumed run must have the same.
        loggers: the script's own, besides TensorBoard's.
    """
    if flags.refit:
        raise InputError(f"--refit: {name} trains once; those for images, masks and tables train twice")
    if len(getattr(data, "val_indices", [None])) == 0:
        flags = _without_validation(flags)
    flags = warming_up_in_time(flags)
    if flags.doctor:
        if not (isinstance(model, Stages) and isinstance(data, BatchModule)):
            raise InputError(f"doctor: knows only modules and data of this project, no {type(model).__name__}")
        from harness.checking.examination import examine

        keep_freed_memory()  # as in training, since it estimates the time of that
        examine(name, model, data, flags)  # ends the process
    label = run_label(str(model.hparams.get("net", name)), flags.name, flags.invocation.changed)
    kept = kept_by(flags, getattr(data, "hparams", {}), model.hparams)
    kept["own_callbacks"] = [type_name(each) for each in callbacks]
    with opened_run(name, flags.run_dir, label, flags.resume, kept, flags.writes) as opened:
        return fit_in(opened, Job(name, model, data), flags, Extras(callbacks, loggers))


def _without_validation(flags: FitFlags) -> FitFlags:
    """The flags of a training on all training samples: its model is that of the last epoch.

    Raises:
        InputError: something is to be decided by validation.
    """
    if decides := deciding_by_validation(flags):
        raise InputError(f"--val_size 0: {decides} decides by a validation split")
    return changed(flags, monitor=None)


class _OfNet(Protocol):
    @property
    def net(self) -> str: ...


Recipe = TypeVar("Recipe", bound=_OfNet)


def by_net(*recipes: Recipe) -> dict[str, Recipe]:
    """The recipes, each an object of a script's flags, by the names of their networks."""
    return {recipe.net: recipe for recipe in recipes}
