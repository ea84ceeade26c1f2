"""The table of ranges for numbers on the command line, and the folder of all runs."""

import math
from pathlib import Path

import pytest

from experiments import house_prices, metric_learning, mnist, repeat, sweep, table
from harness.command_line.cli import cli, make_parser
from harness.runs.flag_checks import RANGES, check_ranges, check_run_dir

# Numbers that the Trainer, or the script itself, checks before anything is done.
ELSEWHERE = {"devices", "precision", "max_time", "plugins"}


@pytest.mark.parametrize(
    ("flag", "wrong", "right"),
    [
        ("max_epochs", [0, -2, 2**31], [1, 100, -1]),
        ("max_steps", [0, -2], [1, -1]),
        ("seed", [-1, 2**32], [0, 2**32 - 1]),
        ("batch_size", [-8], [0, 1]),
        ("val_check_interval", [0, 0.0, -1], [1, 0.25, "00:00:10:00", None]),
        ("limit_test_batches", [-1, -0.5], [0, 0.1, 1.0, 7, None]),
        ("lr", [-0.1, math.nan, math.inf], [0.0, 0.1]),
        ("backbone_lr", [-1.0], [0.0, 0.01, None]),
        ("momentum", [-0.1, 1.0], [0.0, 0.99]),
        ("label_smoothing", [-0.1, 1.1], [0.0, 1.0]),
        ("lr_milestones", [[0.5, 2.0], [-0.5], [0.5, math.nan]], [[0.5, 0.75], []]),
        ("recall_at", [[1, 0]], [[1, 10]]),
        ("num_sanity_val_steps", [-2], [-1, 0, 2]),
        ("a_flag_of_no_range", [math.nan, -math.inf], [-7, True, "x", None]),
    ],
)
def test_number_out_of_its_range_is_named(flag, wrong, right):
    for value in wrong:
        with pytest.raises(ValueError) as error:
            check_ranges({"net": "softmax", flag: value})
        assert str(error.value).startswith(f"--{flag} {value}: must be ")
    for value in right:
        check_ranges({"net": "softmax", flag: value})


@pytest.mark.parametrize("script", [mnist, house_prices, table, metric_learning, sweep, repeat])
def test_every_number_of_a_script_has_a_range_and_its_default_keeps_to_it(script):
    parser = make_parser(script.main)
    kinds = {action.dest: str(getattr(action, "_typehint", None) or action.type) for action in parser._actions}
    numbers = {flag for flag, kind in kinds.items() if "int" in kind or "float" in kind} - {"plugins.help"}
    assert numbers - ELSEWHERE <= set(RANGES)
    check_ranges({flag: parser.get_default(flag) for flag in numbers})


def test_refused_number_ends_a_script_before_it_does_anything(refusal):
    def main(lr: float = 0.1, run_dir: str = "runs") -> None:
        raise AssertionError

    assert refusal(main, "--lr", "-1") == "error: --lr -1.0: must be at least 0"


def test_folder_of_runs_that_can_be_made_is_not_made(tmp_path):
    for folder in (tmp_path, tmp_path / "a" / "b"):
        check_run_dir(str(folder))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "reason"),
    [("file", "Not a directory"), ("file/runs", "Not a directory"), ("x" * 300, "too long"), ("a/" * 3000, "too long")],
)
def test_folder_that_cannot_hold_runs_is_named(tmp_path, name, reason):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=reason) as error:
        check_run_dir(str(tmp_path / name))
    assert str(error.value).startswith(f"--run_dir {tmp_path}/")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="a folder that nobody can write to")
@pytest.mark.parametrize("folder", ["/proc", "/proc/runs/of/mine"])
def test_folder_that_nobody_can_write_to_is_named(folder):
    with pytest.raises(OSError, match=f"--run_dir {folder}: "):
        check_run_dir(folder)


def test_run_dir_is_one_line_of_a_script(tmp_path, refusal):
    (tmp_path / "file").write_text("")
    assert "--run_dir file: Not a directory" in refusal(mnist.main, "--sample", "--run_dir", "file")
    cli(lambda run_dir="file", resume="a run": None, args=[])  # which has a folder
