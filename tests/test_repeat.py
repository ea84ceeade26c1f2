"""repeat.py: seeds in separate processes, continuing after an interruption, failed runs, and mistakes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from experiments import repeat
from harness.command_line.cli import cli
from harness.comparing.run_files import read_runs
from harness.comparing.scripts import check_flags, find_script, finished, label, last_line, split_command

ROOT = Path(__file__).parents[1]
MNIST = ["mnist.py", "--sample", "--net", "softmax", "--accelerator", "cpu", "--pictures", "false"]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # of the scripts


def run_repeat(tmp_path, *args):
    cli(repeat.main, None, split_command(["--run_dir", str(tmp_path), *args]))
    return next((tmp_path / "repeat").iterdir())


def test_seeds_are_runs_as_usual_and_are_not_run_again(tmp_path, capsys):
    folder = run_repeat(tmp_path, "--seeds", "2", "--jobs", "2", *MNIST, "--max_epochs", "2")
    runs = read_runs([folder])
    assert [run.seed for run in runs] == [0, 1]
    assert all(run.metrics["epochs"] == 2 and (run.path / "checkpoints" / "best.ckpt").exists() for run in runs)
    assert "2    0 1" in capsys.readouterr().out  # n and seeds
    times = [(run.path / "metrics.json").stat().st_mtime_ns for run in runs]
    assert run_repeat(tmp_path, "--seeds", "3", *MNIST, "--max_epochs", "2") == folder
    assert [(run.path / "metrics.json").stat().st_mtime_ns for run in runs] == times
    assert "already finished: 2 of 3 seeds" in capsys.readouterr().out
    assert len(read_runs([folder])) == 3
    run_repeat(tmp_path, "--seeds", "3", *MNIST, "--max_epochs", "2")
    said = "already finished: 3 of 3 seeds\nmnist, embedded sample: 3 runs"  # the table, and no word of others to come
    assert capsys.readouterr().out.startswith(said)

    # One that was killed before its first checkpoint begins anew, one with a checkpoint goes on.
    before = json.loads((runs[1].path / "metrics.json").read_text())
    for run in runs:
        (run.path / "metrics.json").unlink()
    shutil.rmtree(runs[0].path / "checkpoints")
    run_repeat(tmp_path, "--seeds", "2", *MNIST, "--max_epochs", "2")
    assert finished(folder / "seed0") != runs[0].path
    assert not runs[0].path.exists()
    assert finished(folder / "seed1") == runs[1].path
    after = json.loads((runs[1].path / "metrics.json").read_text())
    assert after["test/loss"] == before["test/loss"]
    assert (folder / "seed1" / "log.txt").read_text().count("run directory") == 2


def test_failed_runs_stop_nothing_and_are_told_at_the_end(tmp_path, capsys):
    script = tmp_path / "odd.py"
    script.write_text(
        "from dataclasses import dataclass\n\n"
        "from harness.command_line.cli import cli\nfrom harness.tasks.study import Study, StudyFlags\n\n\n"
        "@dataclass(frozen=True, kw_only=True)\nclass Flags(StudyFlags):\n    seed: int = 0\n\n\n"
        "def main(flags: Flags) -> None:\n"
        "    if flags.seed == 1:\n        raise RuntimeError('seed one is unlucky')\n"
        '    Study("odd", flags).conclude({"lowest": 2.0 + flags.seed}, {})\n\n\ncli(main)\n'
    )
    with pytest.raises(SystemExit) as stop:
        run_repeat(tmp_path / "runs", "--seeds", "3", str(script))
    assert stop.value.code == 1
    out, err = capsys.readouterr()
    assert "3.0000 ± 1.4142" in out  # of 2 and 4
    assert err == "seed 1 failed: RuntimeError: seed one is unlucky\n"


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["mnst.py"], "did you mean mnist.py"),
        ([*MNIST, "--lrr", "3"], "did you mean --lr"),
        ([*MNIST, "--net", "lenet6", "--seed", "3"], "--seed"),
        ([*MNIST, "--resume=x"], "--resume"),
        ([*MNIST, "--help"], "mnist.py --help shows the flags of mnist.py"),
        ([*MNIST, "--fast_dev_run"], "--fast_dev_run: leaves no run"),
        (["--engine", "slurm", "--jobs", "3", *MNIST], "jobs 3: is for this machine"),
        (["--seeds", "0", *MNIST], "seeds 0"),
        (["--sed", "3", *MNIST], "did you mean --seeds"),
        (["linear_regression.py", "--lr", "many"], "many"),
        (
            [*MNIST, "--seeds", "2"],
            "--seeds: mnist.py takes it with --folds only; this tool's own stands before mnist.py",
        ),
        (
            ["linear_regression.py", "--engine_args.gpus", "1"],
            "--engine_args.gpus: linear_regression.py has no such flag; this tool's own stands before",
        ),
        ([*MNIST, "--engine_args.gpus", "1"], "--engine_args.gpus: mnist.py takes it with --folds only"),
    ],
)
def test_mistake_is_one_line_before_anything_runs(tmp_path, capsys, args, named):
    with pytest.raises(SystemExit) as stop:
        run_repeat(tmp_path, *args)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert named in line
    assert not (tmp_path / "repeat").exists()


def processes_with(folder):
    """Those whose output goes to a file below the folder."""
    links = [link for link in Path("/proc").glob("[0-9]*/fd/1") if link.parts[2] != str(os.getpid())]
    return [link for link in links if file_behind(link).startswith(str(folder.resolve()))]


def file_behind(link):
    """The open file's path; "" if the process has ended, or is somebody else's."""
    try:
        return str(link.readlink())
    except OSError:
        return ""


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to see which processes there are")
@pytest.mark.parametrize(
    ("number", "status"),
    [
        (signal.SIGKILL, -9),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow),
    ],
)
def test_scripts_end_with_the_process_that_started_them(tmp_path, number, status):
    command = [sys.executable, "experiments/repeat.py", "--run_dir", str(tmp_path), *MNIST, "--max_epochs", "100000"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: list(tmp_path.glob("repeat/*/seed0/mnist/*/checkpoints/last.ckpt")))
            assert processes_with(tmp_path)
            process.send_signal(number)
            assert process.wait(20) == status
        finally:
            process.kill()  # else a failed test would wait for it
    wait_for(lambda: not processes_with(tmp_path), 5)


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_split_command_gives_the_script_what_follows_its_name():
    args = ["--seeds", "3", "x.py", "--lr", "1", "--jobs", "2", "--trials", "5", "6", "--net", "a"]
    own = ["--seeds", "3", "x.py"]
    passed_on = ["--lr", "1", "--jobs", "2"]
    assert split_command(args) == [*own, f"--arguments={json.dumps(args[3:])}"]
    expected = [*own, "--trials", "5", "6", f"--arguments={json.dumps([*passed_on, '--net', 'a'])}"]
    assert split_command(args, ("--trials",)) == expected


def test_labels_differ_where_arguments_do():
    commands = [["--lr", "1"], ["--lr", "2"], ["--lr=1"], [], ["--lr", "1", "--net", "a" * 300]]
    labels = {label(Path("x/mnist.py"), arguments) for arguments in commands}
    assert len(labels) == len(commands)
    assert all(len(text) < 80 and text.startswith("mnist_") for text in labels)


def test_label_follows_from_what_a_file_of_flags_says(tmp_path):
    (file := tmp_path / "exp.yaml").write_text("lr: 1")
    before = [label(Path("x/mnist.py"), flags) for flags in (["--config", str(file)], [f"--config={file}"])]
    file.write_text("lr: 2")
    after = [label(Path("x/mnist.py"), flags) for flags in (["--config", str(file)], [f"--config={file}"])]
    assert len({*before, *after}) == 4
    assert label(Path("x/mnist.py"), ["--config", "{lr: 1}" + " " * 999])  # the flags themselves


def test_jobs_of_a_study_are_its_own():
    assert check_flags(find_script("normalisation.py"), ["--jobs", "1"], {})["jobs"] == 1


def test_last_line_is_the_last_that_says_something(tmp_path):
    (tmp_path / "log.txt").write_bytes(b"one\n\xff two\n\n  \n")
    assert last_line(tmp_path / "log.txt").endswith("two")
    assert last_line(tmp_path / "none") == "it said nothing"


def test_config_says_the_seed(tmp_path):
    folder = run_repeat(tmp_path, "--seeds", "1", "--first_seed", "7", *MNIST, "--max_epochs", "1")
    assert yaml.safe_load((finished(folder / "seed7") / "config.yaml").read_text())["seed"] == 7
