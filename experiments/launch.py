"""What every experiment shares: the command line, the run directory, the Trainer, the test.

    def main(..., **flags):
        fit_and_test("name", model, data, **flags)

    if __name__ == "__main__":
        cli(main)

Functions to call, and nothing to inherit from.
"""

import logging
import os
import re
import sys
import traceback
import warnings
from argparse import ArgumentError
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # `python experiments/x.py` puts only experiments/ there

from report import finish, num_parameters, write_layout  # noqa: E402

import torch  # noqa: E402
import yaml  # noqa: E402
from jsonargparse import ArgumentParser, auto_parser, set_parsing_settings  # noqa: E402
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer  # noqa: E402
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint  # noqa: E402
from lightning.pytorch.loggers import TensorBoardLogger  # noqa: E402
from lightning.pytorch.utilities.exceptions import MisconfigurationException  # noqa: E402

from callbacks import (  # noqa: E402
    GradientNorms,
    LRDecay,
    MonitorCheck,
    ProgressLine,
    StepCurves,
    Throughput,
    monitor_mode,
)

PACKAGES = ("experiments", "lit_modules", "datamodules", "callbacks")
config: dict[str, Any] = {}  # the flags of this run, once `cli` has read them

# A value on the command line or in a config file may name classes of these modules and nothing else.
set_parsing_settings(
    import_path_denylist=["*"],
    import_path_allowlist=["lightning.pytorch.strategies", "lightning.pytorch.profilers"],
)
for _library in ("lightning.pytorch", "lightning.fabric"):
    logging.getLogger(_library).setLevel(logging.WARNING)  # its tips and device lists; we print our own
for _expected in (
    ".*smaller than the logging interval.*",  # epochs of few steps
    ".*exists and is not empty.*",  # checkpoints of a run that is resumed
    ".*sync_dist=True.*",  # what we log is reduced over the ranks already
    ".*LeafSpec.*",  # Lightning's own use of torch
    ".*recommended to use `Trainer\\(devices=1, num_nodes=1\\)`.*",  # our loaders count each sample once on any number
):
    warnings.filterwarnings("ignore", message=_expected)


# --- The command line ---------------------------------------------------------------------------


def cli(
    main: Callable[..., Any],
    recipes: Mapping[str, Mapping[str, Any]] | None = None,
    args: Sequence[str] | None = None,
) -> Any:
    """Runs `main` with its keyword arguments, and the Trainer's, as flags.

    Bad input ends the process with one line on stderr and status 2.

    Args:
        recipes: for each `--net`, the defaults that replace those of `main`.
        args: in place of the process's own.
    """
    args = list(sys.argv[1:] if args is None else args)
    with _one_line_errors():
        parser = auto_parser(main, exit_on_error=False, default_config_files=_config_of_resumed_run(args))
        for action in parser._actions:  # `--sample` alone means `--sample true`
            if isinstance(action.default, bool) or str(action.metavar).startswith("{true"):
                action.nargs, action.const = "?", True
        try:
            if recipes:
                asks = [arg for arg in args if arg not in ("-h", "--help") and not arg.startswith("--print_config")]
                parser.set_defaults(dict(recipes.get(parser.parse_args(asks).net, {})))
            flags = parser.parse_args(args)
        except ArgumentError as error:
            raise ValueError(_explain(error, parser)) from error
        for source in ("config", "__default_config__"):  # the files that flags came from
            flags.pop(source, None)
        config.clear()
        config.update(flags.as_dict())
        return main(**parser.instantiate(flags))


def _config_of_resumed_run(args: Sequence[str]) -> list[str]:
    """The flags a resumed run was started with become the defaults."""
    for arg, value in zip(args, [*args[1:], ""], strict=True):
        name, equals, inline = arg.partition("=")
        if name == "--resume":
            return [str(find_run(inline if equals else value)[0] / "config.yaml")]
    return []


def _explain(error: ArgumentError, parser: ArgumentParser) -> str:
    """jsonargparse's message, cut to the flag, the value, and what was expected."""
    text = str(error)
    if unknown := re.search(r"unrecognized arguments: (\S+)", text):
        flag = unknown[1].partition("=")[0]
        flags = [option for action in parser._actions for option in action.option_strings]
        nearest = get_close_matches(flag, flags, n=1, cutoff=0.5)
        return f"{flag}: no such flag" + (f"; did you mean {nearest[0]}?" if nearest else "; --help lists them")
    key, value = re.search(r'Parser key "(\S+)"', text), re.search(r"(?:Given|Got) value: (.*)", text)
    wanted = [kind for kind in re.findall(r"Expected an? (.*?)(?:\. |$)", text, re.M) if "NoneType" not in kind]
    if key and value and wanted:
        kinds = re.sub(r"<class '(\w+)'>|typing\.", r"\1", " or ".join(dict.fromkeys(wanted)))
        return f"--{key[1]} {value[1].strip()}: expected {kinds}"
    return text


@contextmanager
def _one_line_errors() -> Iterator[None]:
    """Turns what this project's own code raises at bad input into one line and exit status 2."""
    try:
        yield
    except (ValueError, OSError) as error:
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        path = Path(frame.f_code.co_filename)
        if not any(path.is_relative_to(ROOT / package) for package in PACKAGES):
            raise  # it comes from inside a library: a bug, whose traceback is wanted
        if is_rank_zero():
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


# --- The run directory --------------------------------------------------------------------------


def is_rank_zero() -> bool:
    """Whether this process is the one that writes, by the variables that launchers set for their processes."""
    ranks = ("RANK", "SLURM_PROCID", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK")
    return all(int(os.environ.get(rank, 0)) == 0 for rank in ranks)


def new_run(name: str, run_dir: str, label: str) -> Path:
    """Makes a directory below `run_dir`/`name` that no other run has, also when many start at once."""
    stem = f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{label}"
    for number in range(1000):
        run = Path(run_dir) / name / (f"{stem}-{number}" if number else stem)
        if not is_rank_zero():
            return run  # the name does not matter: only rank zero writes
        try:
            run.mkdir(parents=True)
            return run
        except FileExistsError:
            continue
    raise FileExistsError(f"{run}: a thousand runs of this second are there already")


def find_run(resume: str) -> tuple[Path, Path]:
    """The run directory and the checkpoint that `--resume` means: a run's last one, or a checkpoint file.

    Raises:
        FileNotFoundError: there is no such run, or it has no checkpoint.
    """
    path = Path(resume)
    checkpoint = path / "checkpoints" / "last.ckpt" if path.is_dir() else path
    run = checkpoint.parent.parent
    if not resume or not checkpoint.is_file():
        raise FileNotFoundError(f"--resume {resume}: no checkpoint at {checkpoint}")
    if not (run / "config.yaml").is_file():
        raise FileNotFoundError(f"--resume {resume}: {run} is not a run directory, it has no config.yaml")
    return run, checkpoint


# --- The run ------------------------------------------------------------------------------------


def fit_and_test(
    name: str,
    model: LightningModule,
    data: LightningDataModule,
    *,
    max_epochs: int = 10,
    seed: int = 0,
    lr_decay: str = "constant",
    warmup_epochs: float = 0.0,
    lr_milestones: list[float] = [0.5, 0.75],  # noqa: B006  read only; jsonargparse shows it in --help
    lr_gamma: float = 0.1,
    lr_patience: int = 5,
    early_stopping: int = 0,
    monitor: str = "val/acc",
    log_gradients: bool = False,
    channels_last: bool = False,
    compile: bool = False,
    run_dir: str = "runs",
    resume: str | None = None,
    **flags: Any,
) -> dict[str, Any]:
    """Trains, tests the best epoch once, writes the run directory, and returns its metrics.

    Args:
        max_epochs: passes over the training split.
        lr_decay: constant, step, cosine, onecycle or plateau.
        warmup_epochs: epochs, or a part of one, in which the learning rate rises; in onecycle, its own rise.
        lr_milestones: when `step` decays, as shares of the run.
        lr_gamma: factor of a decay by `step` or `plateau`.
        lr_patience: validation rounds without improvement that `plateau` waits for.
        early_stopping: stop after that many validation rounds without improvement; 0 is off.
        monitor: validation metric that chooses the best epoch.
        log_gradients: log the gradient norm of each layer.
        channels_last: keep images and weights with the channels innermost, which convolutions like.
        compile: compile the network with torch.compile.
        run_dir: where runs are kept.
        resume: run directory or checkpoint file to continue in place.
    """
    run, checkpoint = find_run(resume) if resume else (None, None)
    callbacks: list[Callback] = [
        LRDecay(lr_decay, warmup_epochs, lr_milestones, lr_gamma, lr_patience, monitor),
        MonitorCheck(monitor),
        Throughput(),
        StepCurves(),
    ]
    callbacks += [GradientNorms()] if log_gradients else []
    callbacks += [EarlyStopping(monitor, mode=monitor_mode(monitor), patience=early_stopping)] if early_stopping else []
    callbacks += [ProgressLine()] if flags.get("enable_progress_bar") is not False else []

    writes = not flags.get("fast_dev_run")
    if writes and run is None:
        run = new_run(name, run_dir, model.hparams.get("net", name))
    try:
        trainer = Trainer(
            max_epochs=max_epochs,
            callbacks=callbacks + (_checkpoints(run, monitor) if writes else []),
            logger=_logger(run, checkpoint) if writes else False,
            use_distributed_sampler=False,  # our loaders know their rank
            enable_model_summary=False,
            **flags,
        )
    except (ValueError, TypeError, MisconfigurationException) as error:
        if writes and not checkpoint and is_rank_zero():
            run.rmdir()
        raise ValueError(str(error)) from error

    if channels_last:
        model.to(memory_format=torch.channels_last)
    if compile:
        model.net.compile()  # in place, so that checkpoints keep the plain names
    if trainer.is_global_zero:
        _announce(name, model, data, run)
        if writes:
            _write_config(run)
            write_layout(trainer.logger)
    trainer.fit(model, data, ckpt_path=checkpoint, weights_only=True)
    return finish(trainer, model, data, run, {"seed": seed, **config})


def _checkpoints(run: Path, monitor: str) -> list[Callback]:
    """`best.ckpt` by the monitored metric, and after it `last.ckpt`, both at the end of each epoch."""
    folder, options = run / "checkpoints", {"enable_version_counter": False, "save_on_train_epoch_end": True}
    return [
        ModelCheckpoint(folder, "best", monitor=monitor, mode=monitor_mode(monitor), **options),
        ModelCheckpoint(folder, "last", **options),
    ]


def _logger(run: Path, checkpoint: Path | None) -> TensorBoardLogger:
    # What an interrupted run logged beyond its checkpoint is logged again, so the old points are dropped.
    resumed = {"purge_step": torch.load(checkpoint, mmap=True, weights_only=True)["global_step"]} if checkpoint else {}
    return _RunLogger(run, name="", version="", default_hp_metric=False, **resumed)


class _RunLogger(TensorBoardLogger):
    def save(self) -> None:
        """Writes no hparams.yaml: config.yaml has the flags."""


def _announce(name: str, model: LightningModule, data: LightningDataModule, run: Path | None) -> None:
    print(f"{name}: {model.hparams.get('net', type(model).__name__)}, {num_parameters(model):,} parameters")
    print(data.describe())
    print(f"run directory: {run}" if run else "a dry run: nothing is written", flush=True)


def _write_config(run: Path) -> None:
    unfinished = run / "config.yaml.tmp"
    unfinished.write_text(yaml.safe_dump({k: v for k, v in config.items() if k != "resume"}, sort_keys=False))
    unfinished.replace(run / "config.yaml")
