"""sweep.py: trials by several workers, one of which is killed; crashes, pruning, --vary, and mistakes."""

import csv
import json
import multiprocessing
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Thread

import optuna
import pytest
import yaml
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

from basics.errors import InputError
from basics.files import write_json
from experiments import sweep
from harness.command_line.cli import cli
from harness.comparing import sweep_report
from harness.comparing import trials as trials_module
from harness.comparing.configurations import counted, next_cell, values_of
from harness.comparing.scripts import check_flags, find_script, split_command
from harness.comparing.sweep_report import LEAST, importances_of
from harness.comparing.sweep_space import Between, OneOf, parse_vary
from harness.comparing.trials import Sweep, open_study, work
from harness.runs.states import read_config

ROOT = Path(__file__).parents[1]
MNIST = ["mnist.py", "--sample", "--net", "softmax", "--accelerator", "cpu", "--pictures", "false"]
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # of the scripts


def run_sweep(tmp_path, *args):
    cli(sweep.main, None, sweep.join_vary(split_command(["--run_dir", str(tmp_path), *args], sweep.OWN)))
    return next((tmp_path / "sweep").iterdir())


def trials_of(folder):
    storage = optuna.storages.RDBStorage(f"sqlite:///{folder / 'study.db'}")
    return optuna.load_study(study_name=folder.name, storage=storage).trials


def test_study_of_another_folder_is_not_taken_for_this_one(tmp_path, refusal):
    shared = ["--storage", f"sqlite:///{tmp_path / 'all.db'}", "--trials", "1", *MNIST, "--vary", "lr=0.1,0.2"]
    shared += ["--max_epochs", "1", "--limit_train_batches", "1"]
    first, second = tmp_path / "first", tmp_path / "second"
    folder = run_sweep(first, *shared)
    assert run_sweep(first, *shared) == folder  # all have ended
    words = sweep.join_vary(split_command(["--run_dir", str(second), *shared], sweep.OWN))
    line = refusal(sweep.main, *words)
    assert "has none of the 1 trial that" in line and f"optuna delete-study --study-name {folder.name}" in line
    assert not list(second.glob("sweep/*"))


@pytest.fixture
def start_worker(tmp_path):
    """Starts `sweep.py` with these flags in a process, which ends with the test at the latest."""
    workers = []

    def start(*args):
        own = ["--run_dir", str(tmp_path), "--heartbeat", "1"]
        command = [sys.executable, "experiments/sweep.py", *own, *MNIST, *args]
        with (tmp_path / f"worker{len(workers)}.txt").open("w") as log:
            workers.append(subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log))
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()
        worker.wait()


def wait_for(condition, seconds=120):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def kill_in_mid_trial(worker, tmp_path):
    """Kills the worker while its trial has a checkpoint and is not finished; returns the trial's folder."""
    checkpoint = wait_for(lambda: next(tmp_path.glob("sweep/*/trial*/mnist/*/checkpoints/last.ckpt"), None))
    worker.kill()
    worker.wait()
    run = checkpoint.parents[1]
    assert not (run / "metrics.json").exists()
    return run.parents[1]


def check_all_is_done_once(tmp_path, count, killed):
    (folder,) = (tmp_path / "sweep").iterdir()
    trials = trials_of(folder)
    ended = [trial for trial in trials if trial.state in ENDED]
    assert len(ended) == count
    assert all(trial.state in (*ENDED, TrialState.FAIL) for trial in trials)  # nothing waits or runs
    names = [trial.user_attrs["folder"] for trial in ended]
    assert len(set(names)) == count
    assert killed.name in names
    for trial in ended:
        trial_folder = folder / trial.user_attrs["folder"]
        (run,) = trial_folder.glob("mnist/*")  # one run directory: nothing began anew
        starts = (trial_folder / "log.txt").read_text().count("run directory:")
        assert starts == (2 if trial_folder == killed else 1)
        config = yaml.safe_load((run / "config.yaml").read_text())
        assert (config["lr"], str(config["batch_size"])) == (trial.params["lr"], trial.params["batch_size"])
        if trial.state == TrialState.COMPLETE:
            assert trial.value == json.loads((run / "metrics.json").read_text())["val/acc"]
    with (folder / "trials.csv").open() as file:
        assert sorted(row["trial"] for row in csv.DictReader(file)) == sorted(names)
    assert (folder / "sweep.png").stat().st_size > 10_000


@pytest.mark.slow
@pytest.mark.parametrize("count", [5, 20])
def test_killed_worker_loses_no_trial_and_none_is_run_twice(tmp_path, start_worker, count):
    flags = ["--max_epochs", "30", "--vary", "lr=1e-4..1:log", "batch_size=64,128", "--trials", str(count)]
    victim = start_worker(*flags)
    killed = kill_in_mid_trial(victim, tmp_path)
    workers = [start_worker(*flags) for _ in range(2)]  # the victim again, and another
    assert [worker.wait(800) for worker in workers] == [0, 0]
    check_all_is_done_once(tmp_path, count, killed)


def test_crashed_trials_are_recorded_and_stop_nothing(tmp_path, capsys):
    script = tmp_path / "odd.py"
    script.write_text(
        "from pathlib import Path\n\nfrom harness.command_line.cli import cli\n"
        "from basics.files import write_json\n"
        "from harness.runs.directories import new_run, write_config\n"
        "from harness.runs.invocation import Invocation\n\n\n"
        'def main(invocation: Invocation, x: int = 0, monitor: str = "val/loss", run_dir: str = "runs") -> None:\n'
        '    run = new_run("odd", run_dir, "x")\n    write_config(run, invocation.flags)\n'
        "    if x == 2:\n        raise RuntimeError('two is unlucky')\n"
        '    write_json(run / "metrics.json", {"val/loss": float((x - 3) ** 2), "test/loss": 7.0})\n\n\ncli(main)\n'
    )
    folder = run_sweep(tmp_path, "--trials", "4", str(script), "--vary", "x=2,3,4")
    lines = capsys.readouterr().out.splitlines()
    assert f"{folder}: 3 trials, as there are 3 configurations" in lines
    assert "importances: not from 2 finished trials; it takes 20" in lines
    trials = trials_of(folder)
    for trial in trials:
        x, results = (
            int(trial.params["x"]),
            {2: "-  x=2  failed", 3: "0.0000  x=3  finished", 4: "1.0000  x=4  finished"},
        )
        assert f"trial{trial.number:04d}  {results[x]}" in lines
        assert trial.state == (TrialState.FAIL if x == 2 else TrialState.COMPLETE)
        assert trial.user_attrs.get("failure", "").endswith("RuntimeError: two is unlucky" if x == 2 else "")
        assert trial.value == (None if x == 2 else (x - 3) ** 2)
    assert sorted(trial.params["x"] for trial in trials) == ["2", "3", "4"]
    best, command = lines[-2:]
    assert json.loads((Path(best.removeprefix("best: ")) / "metrics.json").read_text())["val/loss"] == 0
    assert command.startswith("python ")
    assert command.endswith("odd.py --x=3")

    run_sweep(tmp_path, "--trials", "9", "--jobs", "2", str(script), "--vary", "x=2,3,4")  # nothing is left to try
    assert trials_of(folder) == trials
    script.write_text(script.read_text().replace("x == 2", "x == 7"))
    run_sweep(tmp_path, "--jobs", "2", "--retry_failed=true", str(script), "--vary", "x=2,3,4")
    again = [trial for trial in trials_of(folder) if trial.number >= len(trials)]
    assert [(trial.params["x"], trial.value) for trial in again if trial.state == TrialState.COMPLETE] == [("2", 1.0)]
    with (folder / "trials.csv").open() as file:
        assert sorted((row["x"], row["state"]) for row in csv.DictReader(file)) == [(x, "COMPLETE") for x in "234"]


def test_sweep_of_which_nothing_finished_has_status_1(tmp_path, capsys):
    script = tmp_path / "odd.py"
    script.write_text(
        "from harness.command_line.cli import cli\n\n\n"
        'def main(x: int = 0, monitor: str = "val/loss", run_dir: str = "runs"):\n'
        "    raise RuntimeError('never')\n\n\ncli(main)\n"
    )
    with pytest.raises(SystemExit) as stop:
        run_sweep(tmp_path, str(script), "--vary", "x=2,3")
    assert stop.value.code == 1
    assert "error: no trial has finished" in capsys.readouterr().err


def test_vary_says_ranges_and_choices():
    assert parse_vary(["lr=1e-3..1e-1:log", "momentum=0.8..0.99", "max_epochs=5..20", "net=a,b"]) == {
        "lr": Between(1e-3, 1e-1, log=True, whole=False),
        "momentum": Between(0.8, 0.99, log=False, whole=False),
        "max_epochs": Between(5, 20, log=False, whole=True),
        "net": OneOf(["a", "b"]),
    }
    files = ["../a.ckpt", "../b.ckpt"]
    assert parse_vary([f"init_from={','.join(files)}", f"x={'|'.join(files)}"]) == {
        "init_from": OneOf(files),
        "x": OneOf(files),
    }
    assert parse_vary(["augment=flip|crop:4,flip"])["augment"] == OneOf(["flip", "crop:4,flip"])


def test_several_vary_are_one_list_which_the_script_ends():
    joined = "--vary=" + json.dumps(["lr=1..2", "net=a,b", "x=3,4"])
    args = ["--vary", "lr=1..2", "net=a,b", "mnist.py", "--vary", "x=3,4", "--trials", "2"]
    assert sweep.join_vary(args) == ["mnist.py", "--trials", "2", joined]
    args = ["--vary=lr=1..2", "net=a,b", "mnist.py", "--vary=x=3,4", "--trials", "2"]
    assert sweep.join_vary(args) == ["mnist.py", "--trials", "2", joined]
    assert sweep.join_vary(["mnist.py"]) == ["mnist.py"]


def test_nets_of_timm_can_be_varied():
    flags = {"net": "cnn", "monitor": "val/acc"}
    sweep._check_names({"net": OneOf(["timm:resnet18", "cnn"])}, flags)
    with pytest.raises(ValueError, match="no such net"):
        sweep._check_names({"net": OneOf(["timm:resnet18", "cmnn"])}, flags)


def test_suggestions_keep_to_the_ranges():
    space = parse_vary(["a=1e-3..1e-1:log", "b=-2..3", "c=x,y"])
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [{name: its.suggest(study.ask(), name) for name, its in space.items()} for _ in range(200)]
    assert all(1e-3 <= draw["a"] <= 1e-1 for draw in drawn)
    assert 60 < sum(draw["a"] < 1e-2 for draw in drawn) < 140  # half of the orders of magnitude
    assert {draw["b"] for draw in drawn} == set(range(-2, 4))
    assert {draw["c"] for draw in drawn} == {"x", "y"}


@pytest.mark.parametrize("choices", ["40,4", "4,40"])
def test_longest_training_says_in_which_epochs_nothing_is_pruned(tmp_path, choices):
    flags = sweep.SweepFlags(vary=[f"max_epochs={choices}"], arguments=["--sample"], run_dir=str(tmp_path))
    assert sweep._prepare("mnist.py", flags).warmup == 10


@pytest.mark.parametrize("lines", ["print('hello, world: 1')", "print('- a list')\nraise SystemExit"])
def test_script_that_does_not_answer_by_its_flags_is_one_line(tmp_path, lines):
    (tmp_path / "own.py").write_text(lines + "\nfrom experiments import mnist\nmnist.cli(mnist.main, mnist.RECIPES)")
    with pytest.raises(InputError, match=r"own\.py: does not answer --print_config by its flags alone"):
        check_flags(tmp_path / "own.py", [], {})


VARY = ["--vary", "lr=0.1..1"]


@pytest.mark.parametrize(("task", "metric"), [("regression", "val/rmse"), ("multilabel", "val/map")])
def test_images_without_classes_are_judged_by_a_figure_that_they_have(task, metric):
    found = check_flags(find_script("own_images.py"), ["--sample", "--task", task], {})
    assert sweep.metric_of_trials(found, None) == metric


@pytest.mark.parametrize(
    ("args", "metric"),
    [
        ([], "cv/rmse"),
        (["--time", "age"], "val/loss"),
        (["--refit"], "val/loss"),
        (["--devices", "2"], "val/loss"),
        (["--devices", "2", "--folds", "4"], "cv/rmse"),  # which the trial will refuse
    ],
)
def test_table_that_is_trained_once_is_judged_by_its_validation(args, metric):
    found = check_flags(find_script("table.py"), ["--sample", *args], {})
    assert sweep.metric_of_trials(found, None) == metric


def test_trials_of_a_length_that_the_script_chooses_are_pruned_from_the_first_epoch(tmp_path):
    its = sweep._prepare("table.py", sweep.SweepFlags(vary=["lr=0.1,1"], run_dir=str(tmp_path), arguments=["--sample"]))
    assert its.warmup == 0
    with_epochs = ["--sample", "--max_epochs", "21"]
    its = sweep._prepare("table.py", sweep.SweepFlags(vary=["lr=0.1,1"], run_dir=str(tmp_path), arguments=with_epochs))
    assert its.warmup == 5


@pytest.mark.parametrize(
    ("args", "named"),
    [
        ([*MNIST], "--vary"),
        ([*MNIST, "--vary", "lr"], "--vary lr"),
        ([*MNIST, "--vary", "lr=1..0.1"], "not below"),
        ([*MNIST, "--vary", "lr=0..1:log"], "above 0"),
        ([*MNIST, "--vary", "lr=1..2:lgo"], "lr=1..2:lgo"),
        ([*MNIST, "--vary", "lr=1,1"], "two values"),
        ([*MNIST, "--vary", "lr=0.1,1,1e-1"], "--vary lr: 1e-1 is 0.1 again"),
        ([*MNIST, *VARY, "--metric", "val/oddity"], "--metric val/oddity"),
        ([*MNIST, "--vary", "lr=0.1,1", "lr=2,3"], "twice"),
        ([*MNIST, "--vary", "lrr=0.1,1"], "did you mean --lr"),
        ([*MNIST, "--vary", "max_epochs=3,many"], "many"),
        ([*MNIST, "--lr", "3", *VARY], "--lr"),
        ([*MNIST, "--lrr", "3", *VARY], "did you mean --lr"),
        ([*MNIST, *VARY, "--metric", "test/acc"], "test/acc"),
        ([*MNIST, *VARY, "--monitor", "null"], "--metric"),
        ([*MNIST, *VARY, "--trials", "0"], "trials 0"),
        ([*MNIST, *VARY, "--find_lr"], "--find_lr: leaves no run"),
        ([*MNIST, *VARY, "--storage", "nosql://x"], "--storage nosql://x"),
        (["mnst.py", *VARY], "did you mean mnist.py"),
        (["train.py", *VARY], "there are activations, "),  # none is near
        ([*MNIST, "--vary", "optimizer=adam,lion"], "--vary optimizer 'lion': no such optimizer; There are adadelta,"),
        (["mnist.py", "--sample", "--vary", "net=softmax,resnet20"], "--vary net 'resnet20': no such net; There are "),
        ([*MNIST, "--vary", "lr_decay=cosine,poly"], "lr_decay 'poly': no such schedule; There are "),
        (
            [*MNIST, *VARY, "--jobs", "2"],
            "--jobs: mnist.py takes it with --folds only; this tool's own stands before mnist.py",
        ),
    ],
)
def test_mistake_is_one_line_before_any_trial(tmp_path, capsys, args, named):
    with pytest.raises(SystemExit) as stop:
        run_sweep(tmp_path, *args)
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert named in line
    assert not list(tmp_path.glob("sweep/*/trial*"))


@pytest.fixture
def fake_work(monkeypatch, tmp_path):
    """Lets workers share a study whose trials cost nothing: what is run is noted in place of a process."""
    ran = []

    def run(study, trial, sweep, arguments, folder, share, stopped):
        ran.append(tuple(sorted(arguments)))
        time.sleep(0.01)
        write_json(folder / "metrics.json", {"val/acc": 0.5})
        return 0

    monkeypatch.setattr(trials_module, "_run", run)
    monkeypatch.setattr(
        trials_module, "finished", lambda folder: folder if (folder / "metrics.json").exists() else None
    )

    def work_on(vary, count, workers=4):
        url = f"sqlite:///{tmp_path / 'study.db'}"
        sweep = Sweep(Path("x.py"), [], parse_vary(vary), "val/acc", count, tmp_path, url, 10, -1)
        open_study(sweep)
        threads = [Thread(target=work, args=(sweep, (0, 1), Event())) for _ in range(workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert not any(thread.is_alive() for thread in threads)
        return ran

    return work_on


def test_workers_of_a_grid_try_each_cell_once(fake_work):
    ran = fake_work(["a=1,2,3", "b=x,y,z"], 5)
    assert len(set(ran)) == len(ran) == 5
    ran = fake_work(["a=1,2,3", "b=x,y,z"], 9)  # the same study goes on
    assert sorted(ran) == sorted((f"--a={a}", f"--b={b}") for a in "123" for b in "xyz")


def test_workers_try_no_configuration_of_whole_numbers_twice(fake_work):
    ran = fake_work(["a=1..4", "b=x,y"], 8)
    assert sorted(ran) == sorted((f"--a={a}", f"--b={b}") for a in "1234" for b in "xy")


def test_trial_whose_worker_died_before_it_had_values_keeps_those_it_was_queued_with(fake_work, tmp_path):
    wanted = Sweep(
        Path("x.py"), [], parse_vary(["a=1,2"]), "val/acc", 2, tmp_path, f"sqlite:///{tmp_path}/study.db", 10, -1
    )
    study = open_study(wanted)
    study.enqueue_trial({"a": "2"}, user_attrs={"folder": "trial0007"})
    dead = study.ask()
    study.tell(dead.number, state=TrialState.FAIL)
    trials_module._queue_again(study, study.trials[0])
    assert values_of(study.trials[1]) == {"a": "2"}
    assert sorted(fake_work(["a=1,2"], 2)) == [("--a=1",), ("--a=2",)]
    assert study.trials[1].user_attrs["folder"] == "trial0007"


def test_worker_that_dies_before_its_first_heartbeat_is_noticed_the_second_time_too(tmp_path):
    wanted = sweep_with(f"sqlite:///{tmp_path}/study.db", tmp_path)
    study, at_once = open_study(wanted), wanted._replace(heartbeat=0)
    study.enqueue_trial({"a": "2"})
    for number in range(2):
        study.ask()  # by workers that die before they have done anything
        trials_module._fail_unborn(study, at_once)
        assert [trial.state for trial in study.trials] == [*[TrialState.FAIL] * (number + 1), TrialState.WAITING]
    begun = study.ask()
    begun.set_user_attr("begun", begun.number)
    trials_module._fail_unborn(study, at_once)
    assert study.trials[2].state == TrialState.RUNNING  # its heartbeat will tell
    study.tell(begun.number, state=TrialState.FAIL)
    trials_module._queue_again(study, study.trials[2])
    assert study.trials[3].user_attrs == {"begun": 2}
    study.ask()
    trials_module._fail_unborn(study, at_once)
    assert [trial.state for trial in study.trials[3:]] == [TrialState.FAIL, TrialState.WAITING]
    assert values_of(study.trials[4]) == {"a": "2"}


def test_grid_has_a_random_order_which_all_workers_share():
    space, taken = parse_vary(["a=1,2,3,4", "b=x,y,z"]), set()
    cells = []
    while cell := next_cell(space, taken):
        cells.append(tuple(cell.values()))
        taken.add(cells[-1])
    assert sorted(cells) == [(a, b) for a in "1234" for b in "xyz"]
    assert cells != sorted(cells)
    assert next_cell(space, taken - {cells[5]}) == dict(zip("ab", cells[5], strict=True))


def test_what_an_older_sweep_tried_twice_counts_once():
    study = optuna.create_study()
    for value, x in enumerate(("p", "q", "p")):
        study.add_trial(
            optuna.trial.create_trial(
                params={"x": x}, distributions={"x": CategoricalDistribution(["p", "q"])}, value=value
            )
        )
    assert [trial.value for trial in counted(study.trials, parse_vary(["x=p,q"]))] == [0, 1]


def test_importances_are_those_of_enough_trials_only():
    space = parse_vary(["good=0..1.5", "idle=0..1.5"])
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(
        lambda trial: sum(
            place * its.suggest(trial, name) ** 2 for place, (name, its) in zip((1, 0), space.items(), strict=True)
        ),
        n_trials=LEAST,
    )
    importances = importances_of(study.trials, study.direction)
    assert importances["good"] > 0.8
    assert sum(importances.values()) == pytest.approx(1)
    assert importances_of(study.trials[1:], study.direction) == {}


def take_trials(url, name, count, results):
    """Takes waiting trials as fast as it can."""
    study = open_study(sweep_with(url, name))
    results.put([study.ask().number for _ in range(count)])


def sweep_with(url, folder):
    return Sweep(Path("x.py"), [], {}, "val/acc", 10, Path(folder), url, 10, 0)


def test_no_waiting_trial_is_taken_twice(tmp_path):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    study = open_study(sweep_with(url, tmp_path))
    for _ in range(60):
        study.enqueue_trial({})
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    takers = [context.Process(target=take_trials, args=(url, tmp_path, 20, results)) for _ in range(3)]
    for taker in takers:
        taker.start()
    taken = [number for _ in takers for number in results.get(timeout=60)]
    assert sorted(taken) == list(range(60))


@pytest.mark.slow
def test_sweep_may_be_a_file(tmp_path, capsys):
    text = f"script: mnist.py\ntrials: 2\nrun_dir: {tmp_path}\nvary:\n- batch_size=64,128\n- net_args.widths=8,4|16\n"
    words = "[--sample, --net, mlp, --max_epochs, 1, --pictures, false, --accelerator, cpu]"
    (tmp_path / "sweep.yaml").write_text(f"{text}arguments: {words}\n")
    cli(sweep.main, None, sweep.join_vary(split_command(["--config", str(tmp_path / "sweep.yaml")], sweep.OWN)))
    assert "finished" in capsys.readouterr().out
    widths = [read_config(run)["net_args"]["widths"] for run in tmp_path.glob("sweep/*/trial*/mnist/*")]
    assert len(widths) == 2
    assert all(its in ([8, 4], [16]) for its in widths)


def test_table_of_many_flags_fits_the_terminal(monkeypatch):
    space = {f"net_args.option_{number}": optuna.distributions.FloatDistribution(0, 1) for number in range(9)}
    values = {name: number / 9 for number, name in enumerate(space)}
    states = (TrialState.COMPLETE, TrialState.FAIL)
    trials = [
        optuna.trial.create_trial(
            state=state, value=0.5 if state == TrialState.COMPLETE else None, params=values, distributions=space
        )
        for state in states
    ]
    monkeypatch.setenv("COLUMNS", "80")
    text = sweep_report.table_of(trials, list(space), "val/acc")
    assert max(map(len, text.splitlines())) <= 80
    assert all(text.count(f"{name}={value:.4g}") == 2 for name, value in values.items())
    assert text.splitlines()[1].endswith("50.00 %  finished")
