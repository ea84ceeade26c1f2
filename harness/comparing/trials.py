"""The trials of a sweep, which any number of workers share through one database.

A worker asks the study for a trial, runs it in a process and a folder of its own, and reports the result. It may be
killed at any moment, and nothing is lost or done twice:

- Optuna's heartbeat tells the others that a worker is dead. Its trial is queued again, with the same values and the
  same folder, and whoever takes it continues from the checkpoint there, or only reads the result.
- A trial counts if it waits, runs or has ended, even by a crash of its script. A trial whose worker died does not; the
  one queued in its place does. A trial is superfluous if as many as are wanted count before it, by number, or if an
  earlier one has the same configuration. So workers that ask at the same time need no lock.
"""

import json
import math
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import optuna
from filelock import FileLock, Timeout
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from basics.errors import InputError
from basics.files import write_json
from harness.comparing.configurations import (
    counted,
    draw_new,
    is_grid,
    is_live,
    key_of,
    keys_of,
    next_cell,
    values_of,
)
from harness.comparing.events import read_curve
from harness.comparing.run_files import lower_is_better, number
from harness.comparing.scripts import await_claims, await_preemption, finished, is_preempted, last_line, start
from harness.comparing.sweep_space import Between, OneOf
from harness.processes.children import STOP_SECONDS, stop
from harness.processes.locks import locked
from harness.runs.layout import CLAIM
from harness.runs.states import State, read_metrics, state_of

DEAD_AFTER = 6  # heartbeats missed
LOOK_SECONDS = 0.5  # between two looks at a running trial
VALUES = "values.json"  # of a trial, in its folder
AWAY_SECONDS = 300  # that a database server may be away
BEATS_AFTER = 2  # heartbeats, in which every live worker has beaten again after the server was away

warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
optuna.logging.set_verbosity(optuna.logging.ERROR)

# Puts a trial whose worker has stopped back in the queue, with its values and all that was noted of it.
_queue_again = optuna.storages.RetryHeartbeatStaleTrialCallback()


class Sweep(NamedTuple):
    """What is run, and how it is judged."""

    script: Path
    arguments: list[str]
    space: dict[str, Between | OneOf]
    metric: str
    trials: int
    folder: Path
    storage: str
    heartbeat: int  # seconds
    warmup: int  # epochs in which nothing is pruned; -1: nothing is pruned at all
    mode: str | None = None  # min or max; None: as the name of the metric says


class NotCountedError(Exception):
    """The trial's worker has stopped, or the trial is superfluous or in other hands."""


class ScriptFailedError(Exception):
    """The trial has ended without a result."""


def open_study(sweep: Sweep) -> optuna.Study:
    """The study, created if it does not exist yet.

    Raises:
        InputError: the database cannot be used.
    """
    is_file = sweep.storage.startswith("sqlite")
    with locked(sweep.folder / CLAIM, "", seconds=-1):  # two workers must not create the tables at the same time
        try:
            storage = optuna.storages.RDBStorage(
                sweep.storage,
                # A server may have been restarted since a connection was last used.
                engine_kwargs={"connect_args": {"timeout": 60}} if is_file else {"pool_pre_ping": True},
                heartbeat_interval=sweep.heartbeat,
                grace_period=DEAD_AFTER * sweep.heartbeat,
                heartbeat_stale_trial_callback=_queue_again,
            )
        except Exception as error:  # SQLAlchemy's many, those of database drivers, and missing drivers
            raise InputError(f"--storage {sweep.storage}: {str(error).splitlines()[0]}") from error
        (_one_at_a_time if is_file else _patient)(storage.engine)
        never = sweep.warmup < 0
        pruner = optuna.pruners.NopPruner() if never else optuna.pruners.MedianPruner(n_warmup_steps=sweep.warmup)
        lower = sweep.mode == "min" if sweep.mode else lower_is_better(sweep.metric)
        direction = StudyDirection.MINIMIZE if lower else StudyDirection.MAXIMIZE
        return optuna.create_study(
            storage=storage, pruner=pruner, study_name=sweep.folder.name, direction=direction, load_if_exists=True
        )


def _one_at_a_time(engine: Any) -> None:
    """Makes SQLite's transactions exclusive from their first statement on, as SQLAlchemy's manual shows.

    By default one only starts with the first write, so two workers could both see that a trial waits, and take it.
    """
    from sqlalchemy import event

    event.listen(engine, "connect", lambda connection, _: setattr(connection, "isolation_level", None))
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    engine.dispose()  # drops earlier connections


def _patient(engine: Any) -> None:
    """Lets new connections wait for a server that is away, for as long as a restart or a failover may take."""
    from sqlalchemy import event

    @event.listens_for(engine, "do_connect")
    def connect(dialect: Any, _: Any, args: Any, options: Any) -> Any:
        deadline = time.monotonic() + AWAY_SECONDS
        while (made := _connection(dialect, args, options, deadline)) is None:
            time.sleep(LOOK_SECONDS)
        return made


class _Outage:
    """When this process last found the server away, in seconds of the monotonic clock."""

    ended = -math.inf


_outage = _Outage()


def _connection(dialect: Any, args: Any, options: Any, deadline: float) -> Any:
    """A new connection; None if there is none yet.

    Raises:
        InputError: there is none after the deadline.
    """
    try:
        return dialect.connect(*args, **options)
    except dialect.loaded_dbapi.OperationalError as error:
        _outage.ended = time.monotonic()  # at the earliest
        if time.monotonic() > deadline:
            said = str(error).splitlines()[0]
            raise InputError(f"--storage: the database has been away for {AWAY_SECONDS} s: {said}") from error
        return None


def open_again(sweep: Sweep) -> optuna.Study:
    """A study that has been open before, so that the server may only be away.

    Raises:
        InputError: it is still away after `AWAY_SECONDS`.
    """
    deadline = time.monotonic() + AWAY_SECONDS
    while time.monotonic() < deadline:
        with suppress(InputError, optuna.exceptions.StorageInternalError):
            return open_study(sweep)
        time.sleep(LOOK_SECONDS)
    return open_study(sweep)


def queue_failed(study: optuna.Study, space: dict[str, Between | OneOf]) -> None:
    """Queues the trials whose script has failed again, each in the place of the one that failed."""
    for trial in counted(study.get_trials(deepcopy=False), space):
        if trial.state == TrialState.FAIL:
            study.enqueue_trial(
                values_of(trial), user_attrs={"folder": trial.user_attrs["folder"], "again": trial.number}
            )


Told = Callable[[optuna.Study, FrozenTrial], None]


def work(sweep: Sweep, share: tuple[int, int], stopped: Event, told: Sequence[Told] = ()) -> None:
    """Runs trials until as many as are wanted have ended, by whichever worker, or until `stopped` is set.

    Args:
        told: called with each trial that this worker has ended.
    """
    study = open_again(sweep)
    ended = False
    while not ended and not stopped.is_set():
        with suppress(optuna.exceptions.StorageInternalError):  # a server was stopped amid a transaction
            ended = _look_and_work(study, sweep, share, stopped, told)
            continue
        stopped.wait(LOOK_SECONDS)


def work_alone(sweep: Sweep, told: Sequence[Told], number: int) -> int:
    """What a job of a cluster does: `work` as the only worker of its machine, or of its part of it."""
    work(sweep, (0, 1), Event(), told)
    return number


def _look_and_work(
    study: optuna.Study, sweep: Sweep, share: tuple[int, int], stopped: Event, told: Sequence[Told]
) -> bool:
    """Runs a trial if one is left; returns whether all have ended."""
    if time.monotonic() < _outage.ended + BEATS_AFTER * sweep.heartbeat:  # trials that train still look dead
        stopped.wait(LOOK_SECONDS)
        return False
    optuna.storages.fail_stale_trials(study)
    _fail_unborn(study, sweep)
    trials = counted(study.get_trials(deepcopy=False), sweep.space)
    if sum(trial.state.is_finished() for trial in trials) >= sweep.trials:
        return True
    waiting = any(trial.state == TrialState.WAITING for trial in trials)
    if len(trials) < sweep.trials or waiting:
        if is_grid(sweep.space) and not waiting:
            _queue(study, next_cell(sweep.space, keys_of(trials, sweep.space)))
        _work_once(study, sweep, share, stopped, told)
    else:  # the last ones are in other hands
        stopped.wait(LOOK_SECONDS)
    return False


def _queue(study: optuna.Study, values: dict[str, Any] | None) -> None:
    if values is not None:
        study.enqueue_trial(values)


def _work_once(study: optuna.Study, sweep: Sweep, share: tuple[int, int], stopped: Event, told: Sequence[Told]) -> None:
    faults: list[Exception] = []

    def objective(trial: Trial) -> float:
        try:
            return _run_trial(study, trial, sweep, share, stopped)
        except optuna.exceptions.UpdateFinishedTrialError as error:
            raise NotCountedError("taken over") from error
        except optuna.exceptions.StorageInternalError as error:
            _queue_again(study, _frozen(study, trial))
            raise NotCountedError("the database was away") from error
        except (NotCountedError, ScriptFailedError, optuna.TrialPruned):
            raise
        except Exception as error:
            faults.append(error)
            raise

    try:
        study.optimize(objective, n_trials=1, catch=(NotCountedError, ScriptFailedError), callbacks=list(told))
    except (RuntimeError, ValueError, AssertionError, UnboundLocalError):
        # Optuna's own, when it tells the result of a trial that was taken over, or the database is away just then.
        if faults:
            raise


def _frozen(study: optuna.Study, trial: Trial) -> FrozenTrial:
    return study.get_trials(deepcopy=False)[trial.number]


def _fail_unborn(study: optuna.Study, sweep: Sweep) -> None:
    """Queues trials again whose worker died before the first heartbeat, which Optuna does not notice."""
    long_ago = datetime.now() - timedelta(seconds=DEAD_AFTER * sweep.heartbeat)
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        started = trial.datetime_start
        if trial.user_attrs.get("begun") != trial.number and started and started < long_ago:
            with suppress(RuntimeError, ValueError):  # another worker was first
                study.tell(trial.number, state=TrialState.FAIL)
                _queue_again(study, trial)


def _run_trial(study: optuna.Study, trial: Trial, sweep: Sweep, share: tuple[int, int], stopped: Event) -> float:
    """The value of a trial, whose script is started or resumed, unless it has ended already.

    Raises:
        TrialPruned: its curve is worse than most others.
        ScriptFailedError: it has ended without a value.
        NotCountedError: another worker is to end it.
    """
    trial.set_user_attr("begun", trial.number)  # one that is queued again has the number of the trial before
    if is_grid(sweep.space) and key_of(values_of(_frozen(study, trial)), sweep.space) is None:
        raise NotCountedError("others were faster to take the cells that wait")
    values = {name: space.suggest(trial, name) for name, space in sweep.space.items()}
    folder = sweep.folder / _check_counts(study, trial, sweep, stopped)
    trial.set_user_attr("folder", folder.name)
    arguments = [*sweep.arguments, *(f"--{name}={value}" for name, value in values.items())]
    _note_values(folder, values)
    while True:
        _check_ours(study, trial, stopped)
        with suppress(Timeout), FileLock(folder / CLAIM, timeout=LOOK_SECONDS):  # a worker may only have slept
            await_claims(folder)
            status = None if finished(folder) else _run(study, trial, sweep, arguments, folder, share, stopped)
            if status is not None and is_preempted(status):
                await_preemption(folder)
                _queue_again(study, _frozen(study, trial))
                raise NotCountedError("preempted")
            if sweep.warmup >= 0:  # later trials are compared with its whole curve
                told = _frozen(study, trial).intermediate_values
                _report(trial, sweep.metric, folder, max(told, default=0))
            return _value(study, trial, sweep.metric, folder, status)


def _note_values(folder: Path, values: dict[str, Any]) -> None:
    """Makes the trial's folder.

    Raises:
        InputError: it is there, with results of other values, as if the study that they belong to had been deleted.
    """
    folder.mkdir(exist_ok=True)
    if not (noted := folder / VALUES).exists():
        write_json(noted, values)
    elif (before := json.loads(noted.read_text())) != json.loads(json.dumps(values)):
        raise InputError(f"{folder}: is of another study, with {before}; remove {folder.parent}, or change --run_dir")


def _check_counts(study: optuna.Study, trial: Trial, sweep: Sweep, stopped: Event) -> str:
    """The name of the trial's folder: an earlier one's with the same values, whose worker has stopped, or a new one.

    Raises NotCountedError if the trial is not among those that are wanted. It waits until all trials with lower numbers
    have chosen their values.
    """
    space = sweep.space
    while True:
        trials = study.get_trials(deepcopy=False)
        before, key = trials[: trial.number], key_of(values_of(trials[trial.number]), space)
        choosing = [its for its in before if its.state == TrialState.RUNNING and key_of(values_of(its), space) is None]
        if not choosing or is_grid(space):
            break
        _check_ours(study, trial, stopped)
        optuna.storages.fail_stale_trials(study)
        _fail_unborn(study, sweep)
        stopped.wait(LOOK_SECONDS / 5)
    numbers = [its.number for its in counted(trials, space)]
    if trial.number not in numbers:
        if not is_grid(space) and is_live(trials[trial.number]):
            _queue(study, draw_new(space, keys_of(trials, space)))
        raise NotCountedError("there is one of this configuration")
    if numbers.index(trial.number) >= sweep.trials:
        raise NotCountedError("superfluous")
    earlier = [its.user_attrs.get("folder") for its in before if key_of(values_of(its), space) == key]
    folders = [trial.user_attrs.get("folder"), *reversed(earlier), f"trial{trial.number:04d}"]
    return next(folder for folder in folders if folder)


def _check_ours(study: optuna.Study, trial: Trial, stopped: Event) -> None:
    """Raises NotCountedError if this worker should stop, or if others thought it dead and have taken over the trial."""
    if _frozen(study, trial).state != TrialState.RUNNING:
        raise NotCountedError("taken over")
    if stopped.is_set():
        _queue_again(study, _frozen(study, trial))
        raise NotCountedError("interrupted")


def _run(
    study: optuna.Study,
    trial: Trial,
    sweep: Sweep,
    arguments: list[str],
    folder: Path,
    share: tuple[int, int],
    stopped: Event,
) -> int:
    """Runs the script to its end, and returns its status; it is ended if the trial is pruned or no longer ours."""
    process, reported = start(sweep.script, arguments, folder, share), 0
    try:
        while process.is_alive():
            process.join(LOOK_SECONDS)
            _check_ours(study, trial, stopped)
            if sweep.warmup >= 0 and process.is_alive() and not finished(folder):  # a run that has ended has a result
                reported = _report(trial, sweep.metric, folder, reported)
                if trial.should_prune():
                    raise optuna.TrialPruned
    finally:
        stop(process, STOP_SECONDS if stopped.is_set() else 0)
    assert process.exitcode is not None  # it has ended
    return process.exitcode


def _report(trial: Trial, metric: str, folder: Path, reported: int) -> int:
    """Reports the values of new epochs to the study, and returns the last epoch that it has."""
    for run in folder.glob("*/*"):
        if not run.is_dir() or state_of(run) is State.BROKEN:  # an earlier one, beside which this one began
            continue
        with suppress(InputError, OSError):  # a curve that cannot be read is not pruned
            for epoch, value in zip(*read_curve(run, metric), strict=True):
                if epoch > reported and math.isfinite(value):
                    trial.report(value, epoch)
                    reported = epoch
    return reported


def _value(study: optuna.Study, trial: Trial, metric: str, folder: Path, status: int | None) -> float:
    """The figure that a trial is judged by.

    Raises:
        ScriptFailedError: it has none.
        InputError: it has others, and no trial of the study has had this one yet.
    """
    run = finished(folder)
    figures = read_metrics(run) if run else {}
    value = number(figures.get(metric))
    if value is None:
        failure = f"{metric} is missing or no number" if run else f"status {status}: {last_line(folder / 'log.txt')}"
        trial.set_user_attr("failure", failure)
        others = [name for name in figures if name.startswith(("val/", "cv/")) and number(figures[name]) is not None]
        if others and metric not in figures and not study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            raise InputError(f"--metric {metric}: {run} has no such figure; it has {', '.join(others)}")
        raise ScriptFailedError(failure)
    return value
