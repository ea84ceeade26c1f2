"""A search for good flags of a script: an Optuna study, whose trials are runs in processes of their own.

    python experiments/sweep.py cifar10.py --net speednet --vary lr=1e-3..1e-1:log batch_size=128,256,512 --trials 30
    python experiments/sweep.py --jobs 2 mnist.py --sample --net lenet5 --vary lr=0.001..1:log --trials 20
    python experiments/sweep.py --storage postgresql+psycopg://host/sweeps cifar10.py ...   on any number of machines

Flags that are not those of this tool are passed on to the script. `--vary` (sweep_space.py) says which values a flag
may have. If all of them are finite choices, the sweep is a grid: each cell once, in random order, up to --trials of
them. Otherwise the sampler is TPE (Bergstra et al. 2011), and no configuration is tried twice. A run that after some
epochs is worse than the median of the others is ended. The score is a validation figure of each run's best epoch; the
test set decides nothing.

Everything is in runs/sweep/<script>_<flags>_<code>/: study.db; trial0000/ and so on, each with a run directory and
log.txt; at the end trials.csv and sweep.png. Each trial prints a line when it ends; the last lines are the best trial's
run directory and the command that repeats it. The same command again, even at the same time, adds a worker to the
study. Workers may be killed and started again: the trial of a dead worker is finished by another, from its checkpoint.
A trial whose script fails counts as one of the --trials and stops nothing; --retry_failed tries it again.
"""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

from optuna import Study
from optuna.trial import TrialState

from basics.amounts import amount
from basics.choose import choose
from basics.errors import InputError, writing
from harness.command_line.cli import cli
from harness.comparing.configurations import size
from harness.comparing.run_files import mode_of
from harness.comparing.scripts import check_flags, find_script, interruptible, label, split_command
from harness.comparing.sweep_report import report, say_best, say_ended
from harness.comparing.sweep_space import Between, OneOf, parse_vary
from harness.comparing.trials import Sweep, open_again, open_study, queue_failed, work, work_alone
from harness.processes.engines.engine import Engine, engine_called
from harness.processes.locks import locked
from harness.processes.pools import ProcessKilledError
from harness.runs.flag_kinds import needs_one_training
from harness.runs.layout import CLAIM

OWN = (
    "--vary",
    "--trials",
    "--metric",
    "--storage",
    "--prune",
    "--heartbeat",
    "--retry_failed",
)  # flags of this tool that may follow the script's name too


@dataclass(frozen=True, kw_only=True)
class SweepFlags:
    """What is searched, and how.

    Args:
        vary: flags and what they may be: a range, lr=1e-3..1e-1:log or max_epochs=5..20; or some values,
            batch_size=128,256, with | between them where a value has commas itself, augment=flip|crop:4,flip.
        trials: how many, by all workers of the study together, and at most one for each configuration; a higher number
            than before adds to the study.
        metric: validation figure in metrics.json; null: what the script monitors, or its score over folds.
        prune: end runs that fall behind.
        storage: database URL, as SQLAlchemy reads it, without a password, which PGPASSWORD or ~/.pgpass have; null: a
            file in the sweep's folder.
        jobs: workers: trials at a time in this process, which share cores and accelerators, or jobs of a cluster, each
            of which runs one trial after another; before the script's name.
        engine: where the workers are: local, this process; slurm, a job array; or ray, a Ray cluster. Clusters need a
            --storage that all machines reach; before the script's name.
        engine_args: what the jobs of a cluster get, such as --engine_args.gpus 1; see docs/multi_machine.md.
        heartbeat: seconds between two signs of life; a worker that gives none for six times as long counts as dead.
        retry_failed: first try those trials again whose script has failed.
        run_dir: folder for sweep/<script>_<flags>_<code>/, which holds all of it; before or after the script's name.
        arguments: those of the script, after its name.
    """

    vary: list[str] = field(default_factory=list)
    trials: int = 20
    metric: str | None = None
    prune: bool = True
    storage: str | None = None
    jobs: int = 1
    engine: str = "local"
    engine_args: dict[str, Any] | None = None
    heartbeat: int = 10
    retry_failed: bool = False
    run_dir: str = "runs"
    arguments: list[str] = field(default_factory=list)


DEFAULTS = SweepFlags()
# What folds are compared by, for each task.
OF_FOLDS = {"classification": "cv/log_loss", "regression": "cv/rmse", "multilabel": "cv/map"}
OF_IMAGES = {"regression": "val/rmse", "multilabel": "val/map"}  # in place of an accuracy, which these do not have


def main(script: str, flags: SweepFlags = DEFAULTS) -> None:
    """Tries values of a script's flags, and shows which are good.

    Args:
        script: such as cifar10.py.
    """
    for name, value in {"trials": flags.trials, "jobs": flags.jobs, "heartbeat": flags.heartbeat}.items():
        if value < 1:
            raise InputError(f"{name} {value}: must be at least 1")
    _check_storage(flags)
    cluster = engine_called(flags.engine, flags.engine_args or {})
    sweep = _prepare(script, flags)
    study = _opened(sweep)
    fewer = f", as there are {sweep.trials} configurations" if sweep.trials < flags.trials else ""
    print(f"{sweep.folder}: {amount(sweep.trials, 'trial')}{fewer}", flush=True)
    if flags.retry_failed:
        queue_failed(study, sweep.space)
    if cluster:
        _work_by(cluster, sweep, flags.jobs)
    else:
        _work(sweep, flags.jobs)
    study = open_again(sweep)
    report(study, sweep)
    if not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        print(f"error: no trial has finished; see {sweep.folder}/trial*/log.txt for the reasons", file=sys.stderr)
        sys.exit(1)
    say_best(study, sweep)


def _prepare(script: str, flags: SweepFlags) -> Sweep:
    """What is searched, checked with the script itself; makes the sweep's folder."""
    space, path = parse_vary(flags.vary), find_script(script)
    shown = check_space(path, flags.arguments, space)
    metric = _same_metric(shown, flags.metric)
    mode = _mode(metric, shown[-1])
    folder = Path(flags.run_dir) / "sweep" / label(path, flags.arguments, [sorted(flags.vary), metric])
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    storage = flags.storage or f"sqlite:///{(folder / 'study.db').resolve()}"
    warmup = max(map(_warmup, shown)) if flags.prune else -1
    wanted = int(min(flags.trials, size(space)))
    return Sweep(path, flags.arguments, space, metric, wanted, folder, storage, flags.heartbeat, warmup, mode)


def _warmup(flags: dict[str, Any]) -> int:
    """A quarter of the epochs, in which learning rates may rise; none if -1 leaves their number to the script."""
    return max(0, int(flags.get("max_epochs") or 0)) // 4


def _check_storage(flags: SweepFlags) -> None:
    """Raises InputError if the database would be seen by one machine only, or its password by everybody."""
    local = not flags.storage or flags.storage.startswith("sqlite")
    if flags.engine != "local" and local:
        raise InputError(
            f"--engine {flags.engine}: needs a --storage for all machines, such as postgresql+psycopg://host/sweeps"
        )
    if flags.engine == "ray" and "PGPASSWORD" in os.environ:
        raise InputError("--engine ray: its nodes do not get PGPASSWORD; the password has to be in ~/.pgpass on each")
    if flags.storage and _has_password(flags.storage):
        raise InputError("--storage: a password on a command line can be read by others; use PGPASSWORD or ~/.pgpass")


def _has_password(storage: str) -> bool:
    from sqlalchemy.engine import make_url  # here, because it takes a while
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(storage)
    except ArgumentError as error:
        example = "postgresql+psycopg://host/sweeps"
        raise InputError(f"--storage: is no URL of a database, such as {example}") from error  # it may have a password
    return url.password is not None or "password" in url.query


def _opened(sweep: Sweep) -> Study:
    """The study; if its database refuses, no new folder stays."""
    try:
        study = open_study(sweep)
        _check_folders(study, sweep)
        return study
    except InputError:
        if [path.name for path in sweep.folder.iterdir()] in ([], [CLAIM]):
            shutil.rmtree(sweep.folder)
        raise


def _check_folders(study: Study, sweep: Sweep) -> None:
    """Raises InputError if no trial of the study is here: they are in another folder, or have been removed.

    A sweep's own database is in its folder, so that its trials can only have been removed, which is allowed.
    """
    if str(sweep.folder.resolve()) in sweep.storage:
        return
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    folders = [trial.user_attrs["folder"] for trial in trials if "folder" in trial.user_attrs]
    if folders and not any((sweep.folder / name).exists() for name in folders):
        name, trials_there = study.study_name, amount(len(folders), "trial")
        raise InputError(
            f"{sweep.folder}: has none of the {trials_there} that {name} has in --storage; they are of another"
            f" --run_dir, or were removed. optuna delete-study --study-name {name} --storage URL forgets them"
        )


def _work_by(cluster: Engine, sweep: Sweep, jobs: int) -> None:
    """Lets so many workers run trials on a cluster; what they say is in the sweep's folder, under engine/."""
    theirs = sweep._replace(folder=sweep.folder.resolve())
    call = partial(work_alone, theirs, [partial(say_ended, sweep.metric)])
    logs = sweep.folder / "engine"
    logs.mkdir(exist_ok=True)
    busy = f"{sweep.folder}: a cluster works on this sweep for another command; a larger --jobs gives it more workers"
    try:
        with locked(logs / CLAIM, busy):
            for _ in cluster.run(call, [(number,) for number in range(jobs)], logs):
                pass  # a worker ends when all trials have
    except ProcessKilledError as error:  # of some; the others have ended
        print(error, flush=True)


def _work(sweep: Sweep, jobs: int) -> None:
    """Runs trials, so many at a time, until there are as many as wanted."""
    stopped, told = Event(), [partial(say_ended, sweep.metric)]
    with ThreadPoolExecutor(jobs) as pool:
        try:
            for worker in as_completed(
                [pool.submit(work, sweep, (place, jobs), stopped, told) for place in range(jobs)]
            ):
                worker.result()
        finally:
            stopped.set()


def check_space(script: Path, arguments: list[str], space: dict[str, Between | OneOf]) -> list[dict[str, Any]]:
    """The flags of the script, which has been shown each choice and both ends of each range, one after another.

    Raises:
        InputError: it refuses one, or takes two of them for the same, or a flag is both fixed and varied.
    """
    shown = []
    for row in range(max(len(its.examples) for its in space.values())):
        examples = {f"--{name}": its.examples[min(row, len(its.examples) - 1)] for name, its in space.items()}
        shown.append(check_flags(script, arguments, examples))
    for name, its in space.items():
        values = [json.dumps(_read(flags, name)) for flags in shown[: len(its.examples)]]
        for at, value in enumerate(values):
            if value in values[:at]:
                raise InputError(f"--vary {name}: {its.examples[at]} is {its.examples[values.index(value)]} again")
    _check_names(space, shown[-1])
    return shown


def _check_names(space: dict[str, Between | OneOf], flags: dict[str, Any]) -> None:
    """Raises InputError if a choice is no network, optimizer or schedule; a script finds that out in its trial."""
    if not {"net", "monitor"} <= flags.keys() or not space.keys() & {"net", "optimizer", "lr_decay"}:
        return  # no training of one network, such as a study of optimizers, or nothing to look up
    from callbacks.lr_decay import OF_MORE  # imported here because they import torch
    from callbacks.schedules import schedule_called
    from lit_modules.nets import nets_with, pixel_nets
    from lit_modules.optimizers import OPTIMIZERS

    for name in space.keys() & {"net", "optimizer"}:
        for choice in space[name].examples:
            known: Mapping[str, Any] = OPTIMIZERS if name == "optimizer" else nets_with(choice) | pixel_nets()
            choose(name, choice, known, f"--vary {name}")
    for choice in space["lr_decay"].examples if "lr_decay" in space else ():
        schedule_called(choice, OF_MORE)


def _read(flags: dict[str, Any], name: str) -> Any:
    """The value of a flag such as net_args.dropout."""
    for part in name.split("."):
        flags = flags[part]
    return flags


def _mode(metric: str, flags: dict[str, Any]) -> str:
    mode = mode_of(metric, flags)
    if mode is None:
        raise InputError(f"--metric {metric}: neither its name nor --monitor_mode says whether more or less is better")
    return mode


def _same_metric(shown: list[dict[str, Any]], metric: str | None) -> str:
    """The figure that all trials are judged by.

    Raises:
        InputError: it would differ from one trial to the next.
    """
    first, *others = dict.fromkeys(metric_of_trials(flags, metric) for flags in shown)
    if others:
        raise InputError(f"metric: some trials monitor {first}, others {others[0]}; name one of both by --metric")
    return first


def metric_of_trials(flags: dict[str, Any], metric: str | None) -> str:
    """The figure that trials of a script with these flags are judged by: `metric`, if it is given.

    Raises:
        InputError: the script monitors none, or it is one of the test set.
    """
    task = flags.get("task", "classification" if "augment" in flags else "")  # images; else house prices
    of_folds = OF_FOLDS.get(task, "cv/log_rmse")
    monitored = OF_IMAGES.get(task) if flags.get("monitor") == "val/acc" else None
    in_folds = flags.get("folds") and not needs_one_training(flags)
    chosen = metric or (of_folds if in_folds else monitored or flags.get("monitor"))
    if not chosen:
        raise InputError("metric: the script monitors none; name one of its validation figures by --metric")
    if str(chosen).startswith("test/"):
        raise InputError(f"--metric {chosen}: the test set must not choose; take a validation figure, such as val/acc")
    return chosen


def join_vary(args: list[str]) -> list[str]:
    """`--vary a b`, and all further ones, as the one value that the flag takes; a script's name ends a list."""
    varied: list[str] = []
    others: list[str] = []
    taking = False
    for arg in args:
        if arg.startswith("--vary=") and not arg.startswith("--vary=["):
            taking, arg = True, arg.removeprefix("--vary=")
        else:
            taking = arg == "--vary" or (taking and not arg.startswith("--") and not arg.endswith(".py"))
        if arg != "--vary":
            (varied if taking else others).append(arg)
    return [*others, f"--vary={json.dumps(varied)}"] if varied else others


if __name__ == "__main__":
    with interruptible():
        cli(main, None, join_vary(split_command(sys.argv[1:], OWN)))
