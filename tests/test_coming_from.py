"""docs/coming_from.md and README.md: commands have flags that the scripts know, and scripts run word for word."""

import importlib
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from experiments.sweep import OWN, join_vary
from harness.command_line.cli import make_parser
from harness.comparing.scripts import split_command

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "coming_from.md").read_text()
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"`((?:python|torchrun --\w+ \d+) experiments/\w+\.py[^`]*)`", PAGE)
(SCRIPT,) = re.findall(r"^```python\n# line.py\n(.*?)^```", PAGE, re.M | re.S)
(OF_README,) = re.findall(r"^```python\n# experiments/mine.py\n(.*?)^```", README, re.M | re.S)
TYPED = [line.partition("#")[0] for line in re.findall(r"^python experiments/.*", README, re.M)]
TRIED_NEXT = [f"python experiments/{name}.py {flags}" for name, flags in re.findall(r"`([a-z_]+) (--[^`]+)`", README)]


@cache
def parser_of(script):
    return make_parser(importlib.import_module(f"experiments.{script}").main)


def parsed(words):
    """The flags that a script, named by the first word, makes of the others."""
    path, *args = words
    if any(arg.endswith(".py") for arg in args):  # a tool that runs another script
        args = join_vary(split_command(args, OWN))
    return parser_of(Path(path).stem).parse_args([arg for arg in args if arg not in ("--print_config", "--help")])


@pytest.fixture(scope="module", autouse=True)
def config(tmp_path_factory):
    """A folder with the config files that commands read."""
    folder = tmp_path_factory.mktemp("there")
    for name in ("config.yaml", "runs/mnist/<run>/config.yaml"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("lr: 0.5\n")
    before = Path.cwd()
    os.chdir(folder)
    yield
    os.chdir(before)


def test_there_are_commands():
    assert len(COMMANDS) > 40
    assert len({re.search(r"experiments/(\w+)", command)[1] for command in COMMANDS}) >= 9
    assert len(TYPED) >= 9
    assert len(TRIED_NEXT) >= 8


@pytest.mark.parametrize("command", [*COMMANDS, *TYPED, *TRIED_NEXT])
def test_command_has_flags_that_its_script_knows(command):
    words = shlex.split(command)
    at = next(place for place, word in enumerate(words) if word.endswith(".py"))
    flags = parsed(words[at:])
    if inner := flags.get("arguments"):
        parsed([flags["script"], *inner])


def test_what_is_set_here_is_no_flag():
    names = re.search(r"are not flags: (.*?)\.\n", PAGE, re.S)[1]
    known = vars(parser_of("mnist").get_defaults())
    for name in re.findall(r"`(\w+)`", names):
        assert name not in known, name


@pytest.mark.slow
def test_script_of_its_own_runs_in_any_folder(tmp_path):
    (tmp_path / "line.py").write_text(SCRIPT)
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "line.py"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    *_, last = done.stdout.splitlines()
    run, loss = last.split()
    assert float(loss) < 0.01  # of points on a line, whose targets vary by 3
    assert (tmp_path / run / "figures" / "learning_curves.png").is_file()


@pytest.mark.slow
def test_script_of_the_readme_runs(tmp_path):
    (tmp_path / "mine.py").write_text(OF_README)
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "mine.py", "--ema", "0.9", "--accelerator", "cpu"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (run,) = tmp_path.glob("runs/mine/*")
    assert (run / "checkpoints" / "last.ckpt").is_file()
