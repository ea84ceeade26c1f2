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

from typing import Protocol, TypeVar

from datamodules.batch_module import BatchModule
from harness.runs.invocation import kept_by
from harness.runs.names import run_label
from harness.runs.resume import opened_run
from harness.training.fit import Job, Result, fit_in
from harness.training.flags import FitFlags
from harness.training.trainer import NO_EXTRAS, Extras, keep_freed_memory
from lit_modules.stages import Stages

DEFAULTS = FitFlags()


def fit_and_test(
    name: str,
    model: Stages,
    data: BatchModule,
    flags: FitFlags = DEFAULTS,
    theirs: Extras = NO_EXTRAS,
) -> Result:
    """Trains in a run directory, new or resumed, and tests the best epoch once; with `doctor`, only examines it.

    Args:
        name: name of the experiment, and of the directory of its runs.
        theirs: the script's own callbacks and loggers.
    """
    if flags.doctor:
        from harness.checking.examination import examine

        keep_freed_memory()  # as in training, since it estimates the time of that
        examine(name, model, data, flags)  # ends the process
    label = run_label(model.hparams.get("net", name), flags.name, flags.invocation.changed)
    kept = kept_by(flags, getattr(data, "hparams", {}), model.hparams)
    with opened_run(name, flags.run_dir, label, flags.resume, kept, flags.writes) as opened:
        return fit_in(opened, Job(name, model, data), flags, theirs)


class _OfNet(Protocol):
    @property
    def net(self) -> str: ...


Recipe = TypeVar("Recipe", bound=_OfNet)


def by_net(*recipes: Recipe) -> dict[str, Recipe]:
    """The recipes, each an object of a script's flags, by the names of their networks."""
    return {recipe.net: recipe for recipe in recipes}
