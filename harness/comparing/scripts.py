"""Runs scripts of this project in processes and folders of their own; repeat.py and sweep.py share it.

    process = start(script, ["--net", "lenet5"], folder)
    process.join()
    run = finished(folder)

The folder of a run holds log.txt, with all output of the script, and the run directory. The result of a run is read
from these files only, so nothing is lost if the process that started it is killed. The scripts end with that process.

A script starts in tenths of a second because it is forked from a process without threads that has done the imports.
"""

import hashlib
import json
import os
import re
import runpy
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from itertools import pairwise
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import yaml

from basics.choose import nearest
from basics.errors import InputError, MissingFileError, reading
from harness.processes.children import STOP_SECONDS, end_with_starter, lead_group, server_context, stop
from harness.processes.pools import take_share
from harness.runs.states import NOTHING_LOST, State, awaits_refit, is_refit, state_of

EXPERIMENTS = Path(__file__).resolve().parents[2] / "experiments"
OURS = ("--run_dir", "--resume")  # set here for each script
ANYWHERE = ("--run_dir",)  # of every such tool, even after the script's name: where all runs are kept
FIRST = ("--jobs", "--seeds", "--engine", "--engine_args")  # only before the script's name: its folds have them too
PREEMPTED = (143, 255)  # statuses of a script that got SIGTERM, alone or with the server that forked it
PREEMPTION_SECONDS = 600  # longest time between a cluster's SIGTERM and its SIGKILL
LEAVES_NO_RUN = ("fast_dev_run", "find_lr", "doctor")  # flags
LOOK_SECONDS = 0.1  # between two looks at a run that is about to end


def split_command(args: Sequence[str], own: Collection[str] = ()) -> list[str]:
    """The command line of a tool that runs a script; what follows the script's name goes to the flag `arguments`.

    Args:
        own: flags that belong to the tool even after the script's name, with the values that follow them.
    """
    at = next((i for i, arg in enumerate(args) if arg.endswith(".py")), len(args))
    tool = list(args[: at + 1])
    arguments: list[str] = []
    target: list[str] | None = None
    for arg in args[at + 1 :]:
        if arg.startswith("--"):
            target = tool if arg.partition("=")[0] in (*own, *ANYWHERE) else arguments
        (arguments if target is None else target).append(arg)
    return [*tool, f"--arguments={json.dumps(arguments)}"] if at < len(args) else tool


def find_script(name: str) -> Path:
    """The script's file: the one with this path, or the one in experiments/ with this name.

    Raises:
        MissingFileError: there is none.
    """
    for path in (Path(name), EXPERIMENTS / name):
        with reading(name):
            if path.is_file():
                return path.resolve()
    names = sorted(path.stem for path in EXPERIMENTS.glob("*.py"))
    near = nearest(Path(name).stem, names)
    hint = f"did you mean {near}.py?" if near else f"there are {', '.join(names)}"
    raise MissingFileError(f"{name}: no such script; {hint}")


def check_flags(script: Path, arguments: Sequence[str], own: Mapping[str, Any]) -> dict[str, Any]:
    """The script's flags as set by these arguments and its recipes; nothing is run.

    Args:
        own: flags that the tool adds, with examples of their values.

    Raises:
        InputError: the script refuses one of these flags, or the arguments contain a flag that the tool sets.
    """
    for flag in (arg.partition("=")[0] for arg in arguments):
        if flag in ("-h", "--help"):
            raise InputError(f"{flag}: python {script} {flag} shows the flags of {script.name}")
        if flag in (*OURS, *own):
            raise InputError(f"{flag}: is set for each run here, and cannot be among the script's flags")
    added = [f"{flag}={value}" for flag, value in own.items()]
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder) / "out", Path(folder) / "err"
        process = _process(script, [*arguments, *added, "--print_config"], out, err, (0, 1))
        process.join()
        if process.exitcode:
            said = last_line(err).removeprefix("error: ")
            flag, unknown, _ = said.partition(": no such flag")
            if unknown and _of_tool(flag):
                raise InputError(f"{flag}: {script.name} has no such flag; this tool's own stands before {script.name}")
            raise InputError(said)
        flags = _read_flags(script, out)
        for flag in filter(_of_tool, (word.partition("=")[0] for word in arguments)):
            if "fold_seed" in flags and not flags["folds"]:
                raise InputError(
                    f"{flag}: {script.name} takes it with --folds only; this tool's own stands before {script.name}"
                )
        for name in LEAVES_NO_RUN:
            if flags.get(name):
                raise InputError(f"--{name}: leaves no run; python {script} {' '.join(arguments)} shows what it says")
        return flags


def _read_flags(script: Path, out: Path) -> dict[str, Any]:
    """What a script has answered to --print_config.

    Raises:
        InputError: it is something else.
    """
    with suppress(yaml.YAMLError):
        flags = yaml.safe_load(out.read_text(errors="replace"))
        if isinstance(flags, dict) and all(str(name).isidentifier() for name in flags):
            return flags
    raise InputError(
        f"{script.name}: does not answer --print_config by its flags alone; it has to call `cli(main)`, and print"
        " nothing before"
    )


def _of_tool(flag: str) -> bool:
    """Whether it is one of `FIRST`, or a part of one, such as --engine_args.gpus."""
    return flag.partition(".")[0] in FIRST


def label(script: Path, arguments: Sequence[str], also: Any = None) -> str:
    """A folder name that is always the same for the same command, such as mnist_net-lenet5_1c9a5a1e.

    If the command names a file of flags, what is in it counts too.
    """
    own, files = script.resolve().parent == EXPERIMENTS, _config_files(arguments)
    which = script.name if own else str(script.resolve())  # two people's train.py are different scripts
    told = json.dumps([which, list(arguments), also]).encode() + b"".join(path.read_bytes() for path in files)
    code = hashlib.sha256(told).hexdigest()[:8]
    words = re.sub(r"\W+", "-", " ".join(arguments).replace("--", " ")).strip("-")[:40].strip("-")
    return "_".join(part for part in (script.stem, words, code) if part)


def _config_files(arguments: Sequence[str]) -> list[Path]:
    """The files of flags among the arguments; `--config` also takes the flags themselves, as YAML."""
    joined = [arg.partition("=")[2] for arg in arguments if arg.startswith("--config=")]
    named = [value for flag, value in pairwise(arguments) if flag == "--config"]
    return [Path(name) for name in [*joined, *named] if os.path.isfile(name)]  # noqa: PTH113  Path refuses long texts


def finished(folder: Path) -> Path | None:
    """The directory of the finished run in `folder`, if there is one, which is not a refit but has finished with it."""
    runs = [run for run in _runs(folder, State.FINISHED) if not awaits_refit(run)]
    return min(runs, key=is_refit, default=None)


def unfinished(folder: Path) -> Path | None:
    """The newest run directory in `folder` that `--resume` can continue, if there is one."""
    refits = [run for run in _runs(folder, State.FINISHED) if awaits_refit(run)]
    return next(reversed(refits or _runs(folder, State.RESUMABLE)), None)


def await_claims(folder: Path, seconds: float = STOP_SECONDS) -> None:
    """Waits, at most `seconds`, for runs in `folder` whose starter was killed and which are about to end with it."""
    deadline = time.monotonic() + seconds
    while _runs(folder, State.RUNNING) and time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)


def _runs(folder: Path, *states: State) -> list[Path]:
    """The run directories in `folder` that are in one of these states, oldest first."""
    return [run for run in sorted(folder.glob("*/*")) if run.is_dir() and state_of(run) in states]


def start(script: Path, arguments: Sequence[str], folder: Path, share: tuple[int, int] = (0, 1)) -> BaseProcess:
    """Starts the script in a process; it resumes the run in `folder` if possible, and else starts a new one.

    Args:
        share: the number of this run and the number of simultaneous runs, which share cores and accelerators.
    """
    for run in _runs(folder, *NOTHING_LOST):
        shutil.rmtree(run)
    folder.mkdir(parents=True, exist_ok=True)
    running = _runs(folder, State.RUNNING)  # even now: the script will refuse it, and say why
    to_resume = running[0] if running else unfinished(folder)
    resume = ["--resume", str(to_resume)] if to_resume else []
    log = folder / "log.txt"
    return _process(script, [*arguments, "--run_dir", str(folder), *resume], log, log, share)


def run_to_end(script: Path, arguments: Sequence[str], folder: Path) -> int | None:
    """Runs the script as a job of a cluster does, and returns its status; a run that has finished is left alone."""
    await_claims(folder)
    if finished(folder):
        return 0
    process = start(script, arguments, folder)
    try:
        process.join()
        if process.exitcode is not None and is_preempted(process.exitcode):
            await_preemption(folder)
        return process.exitcode
    finally:
        stop(process)


def is_preempted(status: int) -> bool:
    """Whether a script ended with this status because a cluster ends its job, and this process with it."""
    return status in PREEMPTED and "SLURM_JOB_ID" in os.environ


def await_preemption(folder: Path) -> None:
    """Waits for the end of this process, which may start nothing else; the script may still be saving."""
    await_claims(folder, PREEMPTION_SECONDS)
    time.sleep(PREEMPTION_SECONDS)


def _process(script: Path, arguments: Sequence[str], out: Path, err: Path, share: tuple[int, int]) -> BaseProcess:
    context = server_context(["harness.tasks.classification", "torch.utils.tensorboard"])
    process = context.Process(target=_run, args=(str(script), list(arguments), out, err, share))
    process.start()
    return process


def _run(script: str, arguments: list[str], out: Path, err: Path, share: tuple[int, int]) -> None:
    """What the new process does."""
    lead_group()
    end_with_starter()
    for path, stream in ((out, sys.stdout), (err, sys.stderr)):
        with path.open("ab") as file:
            os.dup2(file.fileno(), stream.fileno())
        assert isinstance(stream, TextIOWrapper)  # it is one in a process that has just begun
        stream.reconfigure(line_buffering=True)
    number, workers = share
    if workers > 1:
        import torch

        take_share(number, workers, torch.cuda.device_count())
    sys.path.insert(0, str(Path(script).parent))
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")


def last_line(log: Path) -> str:
    """The last line of a script's output, such as the reason for its failure."""
    lines = log.read_text(errors="replace").split("\n") if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


@contextmanager
def interruptible() -> Iterator[None]:
    """On Ctrl-C and SIGTERM, lets `finally` end what was started, prints a line, and exits with the usual status."""
    heard = []

    def end(*_: Any) -> None:
        heard.append(143)
        sys.exit(143)

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as ended:
        # Ray changes the status of an exit while it waits.
        code = heard[0] if heard else ended.code if isinstance(ended, SystemExit) else 130
        if code in (130, 143):
            print("\ninterrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(code)
