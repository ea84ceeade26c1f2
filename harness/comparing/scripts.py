"""Scripts of this project in processes and folders of their own: what repeat.py and sweep.py share.

    process = start(script, ["--net", "lenet5"], folder)
    process.join()
    run = finished(folder)

The folder of a run has log.txt, with all output of the script, and the run directory. The result of a run is read from
these files alone, so nothing is lost if the process that started it is killed. Its scripts end with it.

A script starts in tenths of a second, because it is forked from a process that has done the imports and has no threads.
"""

import hashlib
import json
import multiprocessing
import os
import re
import runpy
import shutil
import signal
import sys
import tempfile
import threading
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import yaml

from harness.processes.pools import take_share
from harness.runs.directories import has_folds
from harness.runs.layout import RESUMABLE

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
OURS = ("--run_dir", "--resume")  # set by whoever starts a script
STOP_SECONDS = 15.0  # in which a script may end by itself


def split_command(args: Sequence[str], own: Collection[str] = ()) -> list[str]:
    """The command line of a tool that runs a script: whatever follows the script's name goes to the flag `arguments`.

    Args:
        own: flags that are the tool's even after the script's name; the values that follow such a flag belong to it.
    """
    at = next((i for i, arg in enumerate(args) if arg.endswith(".py")), len(args))
    tool, arguments, target = list(args[: at + 1]), [], None
    for arg in args[at + 1 :]:
        if arg.startswith("--"):
            target = tool if arg.partition("=")[0] in own else arguments
        (arguments if target is None else target).append(arg)
    return [*tool, f"--arguments={json.dumps(arguments)}"] if at < len(args) else tool


def find_script(name: str) -> Path:
    """The script's file: the one with this path, or the one in experiments/ with this name.

    Raises:
        FileNotFoundError: there is none.
    """
    for path in (Path(name), EXPERIMENTS / name):
        if path.is_file():
            return path.resolve()
    names = sorted(path.name for path in EXPERIMENTS.glob("*.py"))
    nearest = get_close_matches(name, names, n=1, cutoff=0)
    raise FileNotFoundError(f"{name}: no such script; did you mean {nearest[0]}?")


def check_flags(script: Path, arguments: Sequence[str], own: Mapping[str, Any]) -> dict[str, Any]:
    """The script's flags as these arguments and its recipes set them; nothing is run.

    Args:
        own: flags that the tool adds, with examples of their values.

    Raises:
        ValueError: the script refuses one of these flags, or the arguments have a flag of the tool's.
    """
    for flag in (arg.partition("=")[0] for arg in arguments):
        if flag in (*OURS, *own):
            raise ValueError(f"{flag}: is set for each run here, and cannot be among the script's flags")
    added = [f"{flag}={value}" for flag, value in own.items()]
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        process = _process(script, [*arguments, *added, "--print_config"], out, err, (0, 1))
        process.join()
        if process.exitcode:
            raise ValueError(last_line(err).removeprefix("error: "))
        return yaml.safe_load(out.read_text())


def label(script: Path, arguments: Sequence[str], also: Any = None) -> str:
    """A name for a folder that is the same for the same command, such as mnist_net-lenet5_1c9a5a1e."""
    code = hashlib.sha256(json.dumps([script.name, list(arguments), also]).encode()).hexdigest()[:8]
    words = re.sub(r"\W+", "-", " ".join(arguments).replace("--", " ")).strip("-")[:40].strip("-")
    return "_".join(part for part in (script.stem, words, code) if part)


def finished(folder: Path) -> Path | None:
    """The run directory in `folder` whose run has finished."""
    return next((path.parent for path in sorted(folder.glob("*/*/metrics.json"))), None)


def unfinished(folder: Path) -> Path | None:
    """The run directory in `folder` that `--resume` can continue: it has an intact checkpoint, or folds."""
    for config in sorted(folder.glob("*/*/config.yaml"), reverse=True):
        run = config.parent
        if has_folds(run) or any(zipfile.is_zipfile(run / "checkpoints" / name) for name in RESUMABLE):
            return run
    return None


def start(script: Path, arguments: Sequence[str], folder: Path, share: tuple[int, int] = (0, 1)) -> BaseProcess:
    """Starts the script in a process; it resumes the run in `folder`, if that is possible, or starts a new one.

    Args:
        share: which of how many simultaneous runs it is, to share cores and accelerators.
    """
    run = unfinished(folder)
    for entry in folder.iterdir() if folder.is_dir() and not run else []:
        if entry.is_dir():
            shutil.rmtree(entry)  # a run that was interrupted before its first checkpoint
    folder.mkdir(parents=True, exist_ok=True)
    resume = ["--resume", str(run)] if run else []
    log = folder / "log.txt"
    return _process(script, [*arguments, "--run_dir", str(folder), *resume], log, log, share)


def _process(script: Path, arguments: Sequence[str], out: Path, err: Path, share: tuple[int, int]) -> BaseProcess:
    context = multiprocessing.get_context("forkserver" if os.name == "posix" else "spawn")
    if os.name == "posix":
        context.set_forkserver_preload(["harness.tasks.classification", "torch.utils.tensorboard"])
    process = context.Process(target=_run, args=(str(script), list(arguments), out, err, share))
    process.start()
    return process


def _run(script: str, arguments: list[str], out: Path, err: Path, share: tuple[int, int]) -> None:
    """What the new process does."""
    if os.name == "posix":
        os.setpgrp()  # so that it can be ended with all processes that it starts
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for path, stream in ((out, sys.stdout), (err, sys.stderr)):
        with path.open("ab") as file:
            os.dup2(file.fileno(), stream.fileno())
        stream.reconfigure(line_buffering=True)
    number, workers = share
    if workers > 1:
        import torch

        take_share(number, workers, torch.cuda.device_count())
    sys.path.insert(0, str(Path(script).parent))
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    if os.name == "posix":
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


def stop(process: BaseProcess, seconds: float = STOP_SECONDS) -> None:
    """Ends the script and all processes that it has started: asks it to end, and kills it after so many seconds."""
    if seconds and process.is_alive():
        _signal(process, "SIGTERM")
        process.join(seconds)
    _signal(process, "SIGKILL")
    process.join()


def _signal(process: BaseProcess, name: str) -> None:
    """Signals the process and those that it has started, which may outlive it."""
    try:
        os.killpg(process.pid, getattr(signal, name))
    except (AttributeError, ProcessLookupError):  # not on this system, or the process has no group of its own yet
        (process.kill if name == "SIGKILL" else process.terminate)()


def last_line(log: Path) -> str:
    """The last line of a script's output, such as the reason of its failure."""
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


@contextmanager
def interruptible() -> Iterator[None]:
    """On Ctrl-C and SIGTERM, lets `finally` end what was started, prints a line, and exits with the usual status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        yield
    except KeyboardInterrupt:
        print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)
