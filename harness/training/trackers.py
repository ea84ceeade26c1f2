"""`--log_to csv,wandb,mlflow`: Lightning's own loggers beside TensorBoard, with the flags and the final figures.

A tracker is there for people to look at, and no run depends on it: one that fails is named in a warning, and training
goes on without it. As with TensorBoard, nothing is written before the run's first step, when nothing can refuse it any
more, and only rank zero writes. The final figures, those of metrics.json, are called `final/test/acc` and so on, since
they are those of the best epoch, and not points of the curves.

A resumed run continues the same curves, in the same run of W&B and MLflow. CSV files lose the points beyond the
checkpoint, which are logged again; the others can take nothing back, and have these points twice.

Folds log to the store of the run that holds them: files of their own below its `csv/`, runs of one group in W&B, and in
MLflow runs below that of the whole.
"""

import csv
import json
import logging
import os
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from netrc import NetrcParseError, netrc
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from filelock import FileLock
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, Logger

from basics.choose import choose
from basics.errors import InputError
from basics.files import replacing

IDS = "trackers.json"  # in a run's directory: the names that W&B and MLflow have for it
LONGEST = 250  # characters of a parameter that Lightning hands to MLflow


class Logged(NamedTuple):
    """The run that is logged.

    Attributes:
        run: its directory.
        name: name of the experiment, such as mnist.
        resumed_at: the step at which it goes on; None for a new run.
        is_fold: whether it is a fold in the directory of a run.
    """

    run: Path
    name: str
    resumed_at: int | None = None
    is_fold: bool = False

    @property
    def title(self) -> str:
        return "/".join(self.run.absolute().parts[-2:])  # with the run's name before that of a fold

    @property
    def store(self) -> Path:
        """The directory that holds what is logged."""
        return self.run.absolute().parent if self.is_fold else self.run.absolute()

    @property
    def ids(self) -> Path:
        """The file with its names in W&B and MLflow; not in a fold's directory, which an interrupted fold loses."""
        return self.store / (f"trackers_{self.run.name}.json" if self.is_fold else IDS)

    @property
    def ids_of_folds(self) -> list[Path]:
        return sorted(self.store.glob("trackers_fold*.json"))


class Tracker(Logger):
    """One of Lightning's loggers, which is made when the run begins, and left alone once it fails."""

    def __init__(self, name: str, logged: Logged) -> None:
        super().__init__()
        self._name, self._logged = name, logged
        self._logger: Logger | None = None  # while it is in use
        self._failed = False
        self.ended = False  # True: training and its curves have ended, and what an evaluation logs is not part of them

    @property
    def name(self) -> str:
        return self._name

    @property
    def version(self) -> str:
        return ""

    def begin(self, flags: Mapping[str, Any]) -> None:
        """Opens the tracker, unless it is open or has failed, and logs the run's flags."""
        if self._logger or self._failed:
            return
        with self._surviving():
            self._logger = TRACKERS[self._name](self._logged, flags)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if self._logger and not self.ended:
            with self._surviving():
                self._logger.log_metrics(dict(metrics), step)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Lightning's call, with the module's arguments; `begin` has logged the flags."""

    def save(self) -> None:
        if self._logger:
            with self._surviving():
                self._logger.save()

    def report(self, flags: Mapping[str, Any], metrics: Mapping[str, Any]) -> None:
        """Logs the final figures, those numbers that metrics.json has, and closes the tracker."""
        self.begin(flags)  # if there was nothing left to train
        self.ended = False
        figures = {f"final/{name}": its for name, its in metrics.items() if type(its) in (int, float)}
        self.log_metrics(figures, metrics.get("steps", 0))
        self._close("success")

    def finalize(self, status: str) -> None:
        """Lightning's call after each stage; only a failed one is the last."""
        if status == "success":
            self.save()
        else:
            self._close(status)

    def _close(self, status: str) -> None:
        if not self._logger:
            return
        with self._surviving():
            self._logger.finalize(status)
            if self._name == "wandb":  # otherwise the next training in this process would log to the same run
                self._logger.experiment.finish(exit_code=int(status != "success"))  # type: ignore[attr-defined]
        self._logger = None

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # a full disk, a server that is gone, a package of another version
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            print(f"warning: --log_to {self._name}: {reason}; nothing more is logged there", file=sys.stderr)
            self._logger, self._failed = None, True


def check_trackers(names: Sequence[str]) -> None:
    """Raises InputError if there is no such tracker, or its package is not installed."""
    for name in names:
        choose("tracker", name, TRACKERS, flag="--log_to")
        if name in PACKAGES and not find_spec(PACKAGES[name]):
            raise InputError(f"--log_to {name}: needs a package that is not installed: pip install {PACKAGES[name]}")


def trackers_for(names: Sequence[str], logged: Logged) -> list[Tracker]:
    """The trackers, each once, none of them open."""
    return [Tracker(name, logged) for name in dict.fromkeys(names)]


def trackers_of(trainer: Trainer) -> list[Tracker]:
    return [logger for logger in trainer.loggers if isinstance(logger, Tracker)]


def _csv(logged: Logged, flags: Mapping[str, Any]) -> Logger:
    """`csv/metrics.csv` in the run's directory, with the rows that it had before the step at which the run goes on.

    That of a fold is `csv/fold0/metrics.csv`.
    """
    version = logged.run.name if logged.is_fold else ""
    path, kept = logged.store / "csv" / version / "metrics.csv", []
    if logged.resumed_at is not None and path.exists():
        with path.open(newline="") as file:
            rows = [{name: cell for name, cell in row.items() if cell} for row in csv.DictReader(file)]
        # A kill may have cut off the last line.
        kept = [row for row in rows if row.get("step", "").isdecimal() and int(row["step"]) < logged.resumed_at]
    logger = CSVLogger(logged.store, name="csv", version=version)
    logger.experiment.metrics += kept  # opening it has removed the file
    logger.log_hyperparams(dict(flags))
    logger.save()
    return logger


def _wandb(logged: Logged, flags: Mapping[str, Any]) -> Logger:
    """A run in the project of the experiment's name; offline, below `wandb/`, where nobody is logged in."""
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    ids = _read_ids(logged.ids)
    its = ids.get("wandb") or secrets.token_hex(4)
    _write_ids(logged.ids, {**ids, "wandb": its})
    group = logged.store.name if logged.is_fold or logged.ids_of_folds else None
    project = os.environ.get("WANDB_PROJECT", logged.name)
    mode = None if os.environ.get("WANDB_MODE") or _has_key() else "offline"
    quiet = wandb.Settings(console="off", silent=mode == "offline")  # our progress line needs the terminal
    where = {"project": project, "group": group, "name": logged.title, "dir": logged.store}
    run = wandb.init(**where, id=its, mode=mode, resume="allow", settings=quiet)
    run.define_metric("*", step_metric="trainer/global_step")  # as Lightning does, if it calls init
    logger = WandbLogger(experiment=run)
    logger.log_hyperparams(dict(flags))
    return logger


def _has_key() -> bool:
    """Whether somebody is logged in to W&B here: by its variables, or by `wandb login`, which writes to .netrc."""
    if os.environ.keys() & {"WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"}:
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return bool(netrc(Path(os.environ.get("NETRC", "~/.netrc")).expanduser()).authenticators(host))
    except (OSError, NetrcParseError):
        return False


def _mlflow(logged: Logged, flags: Mapping[str, Any]) -> Logger:
    """A run in the store that MLFLOW_TRACKING_URI names, or in `mlflow.db` in the run's directory."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from lightning.pytorch.loggers import MLFlowLogger

    ids = _read_ids(logged.ids)
    its = ids.get("mlflow")
    store = os.environ.get("MLFLOW_TRACKING_URI")
    files = None if store else (logged.store / "mlflow").as_uri()
    where = store or f"sqlite:///{logged.store}/mlflow.db"
    for library in ("mlflow", "alembic", "lightning.pytorch.loggers.mlflow"):
        logging.getLogger(library).setLevel(logging.ERROR)  # their remarks on the making of a new store
    with _one_at_a_time(where):
        logger = MLFlowLogger(logged.name, logged.title, where, artifact_location=files, run_id=its)
        client = logger.experiment  # makes the store and the run, if there are none
    if its:
        client.update_run(its, status="RUNNING")
    else:
        _write_ids(logged.ids, {**ids, "mlflow": logger.run_id})
    for fold in logged.ids_of_folds if not logged.is_fold else ():
        if its_id := _read_ids(fold).get("mlflow"):  # none if MLflow failed in that fold
            client.set_tag(its_id, "mlflow.parentRunId", logger.run_id)
    known = client.get_run(logger.run_id).data.params
    logger.log_hyperparams({name: value for name, value in flags.items() if name not in known})
    for name in known.keys() & flags.keys():
        if known[name] != str(flags[name])[:LONGEST]:  # parameters are for ever; tags are not
            client.set_tag(logger.run_id, name, str(flags[name]))
    return logger


def _one_at_a_time(store: str) -> AbstractContextManager:
    """A lock on a store that is a file, whose tables two folds or trials must not make at the same time."""
    kind, _, path = store.partition(":///")
    return FileLock(f"{path}.lock") if kind == "sqlite" else nullcontext()


def _read_ids(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text()) if path.exists() else {}


def _write_ids(path: Path, ids: Mapping[str, Any]) -> None:
    with replacing(path) as unfinished:
        unfinished.write_text(json.dumps(ids) + "\n")


TRACKERS: dict[str, Callable[[Logged, Mapping[str, Any]], Logger]] = {"csv": _csv, "wandb": _wandb, "mlflow": _mlflow}
PACKAGES = {"wandb": "wandb", "mlflow": "mlflow"}
