"""--refit, and schedules that are longer than the run or decay every few epochs."""

import json

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.optim import lr_scheduler

from experiments import house_prices, metric_learning, mnist
from harness.command_line.cli import cli
from harness.comparing.scripts import finished, unfinished
from harness.runs.states import awaits_refit

QUICK = "--sample --net softmax --accelerator cpu --pictures false".split()


def train(folder, *flags):
    cli(mnist.main, mnist.RECIPES, [*QUICK, "--run_dir", str(folder), *flags])
    return sorted(folder.glob("mnist/*"), key=lambda run: run.name.endswith("refit"))


def metrics_of(run):
    return json.loads((run / "metrics.json").read_text())


def rates_of(run):
    """The learning rate of each logged step."""
    events = EventAccumulator(str(run)).Reload()
    (tag,) = (tag for tag in events.Tags()["scalars"] if tag.startswith("step/lr"))
    return {event.step: event.value for event in events.Scalars(tag)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run, its refit, and the last epoch of the same by hand; lr 3 makes an early epoch the best one."""
    folder = tmp_path_factory.mktemp("refit")
    flags = ["--max_epochs", "5", "--lr", "3"]
    first, second = train(folder / "refit", *flags, "--refit")
    best = str(metrics_of(first)["best_epoch"])
    by_hand = ["--val_size", "0", "--lr", "3", "--lr_epochs", "5", "--max_epochs", best]
    return first, second, train(folder / "by_hand", *by_hand)[0]


def test_refit_is_the_training_without_validation_that_flags_describe(runs):
    _, refit, by_hand = runs
    weights, expected = (
        torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for run in (refit, by_hand)
    )
    assert all(torch.equal(weights[name], expected[name]) for name in expected)
    assert metrics_of(refit)["test/acc"] == metrics_of(by_hand)["test/acc"]


def test_refit_trains_for_as_long_as_validation_chose(runs):
    first, refit, _ = runs
    chosen = torch.load(first / "checkpoints" / "best.ckpt", weights_only=True)["epoch"] + 1
    assert 0 < metrics_of(first)["best_epoch"] == chosen < 5
    assert metrics_of(refit)["epochs"] == chosen
    assert metrics_of(refit)["refit_of"] == str(first)
    assert refit.name.endswith("_softmax_refit")
    assert "refit" not in first.name
    assert yaml.safe_load((refit / "config.yaml").read_text())["refit"] is False


def test_killed_refit_goes_on_and_a_finished_one_is_left_alone(tmp_path, capsys):
    flags = ["--max_epochs", "3", "--lr_decay", "constant", "--seed", "4"]
    first, refit = train(tmp_path, *flags, "--refit")
    before = metrics_of(refit)
    again = ["--run_dir", str(tmp_path), "--resume"]
    cli(mnist.main, mnist.RECIPES, [*again, str(first)])
    assert f"{refit}: the refit has finished too\n" in capsys.readouterr().out
    for resume in ([str(first)], ["auto", *QUICK, *flags, "--refit"]):
        (refit / "metrics.json").unlink()
        assert awaits_refit(first)
        assert unfinished(tmp_path) == first
        cli(mnist.main, mnist.RECIPES, [*again, *resume])
        assert len(list(tmp_path.glob("mnist/*"))) == 2
        assert metrics_of(refit)["test/acc"] == before["test/acc"]
        assert metrics_of(refit)["refit_of"] == before["refit_of"]
        assert not awaits_refit(first)
    assert finished(tmp_path) == first


def test_run_that_is_trained_further_is_refit_anew(tmp_path):
    first, old = train(tmp_path, "--max_epochs", "1", "--refit")
    cli(mnist.main, mnist.RECIPES, ["--resume", str(first), "--max_epochs", "3"])
    (new,) = set(tmp_path.glob("mnist/*")) - {first, old}
    assert metrics_of(new)["epochs"] == metrics_of(first)["best_epoch"] > metrics_of(old)["epochs"] == 1
    assert metrics_of(first)["refit"] == new.name
    assert not awaits_refit(first)


def test_refit_that_was_resumed_by_itself_belongs_to_its_run(tmp_path, capsys):
    first, refit = train(tmp_path, "--max_epochs", "2", "--refit")
    alone = {name: value for name, value in metrics_of(refit).items() if name != "refit_of"}
    (refit / "metrics.json").write_text(json.dumps(alone))  # as it leaves them
    linked = metrics_of(first)
    (first / "metrics.json").write_text(json.dumps({name: value for name, value in linked.items() if name != "refit"}))
    assert awaits_refit(first)
    cli(mnist.main, mnist.RECIPES, ["--resume", str(first)])
    assert f"{refit}: the refit has finished too\n" in capsys.readouterr().out
    assert metrics_of(first) == linked and metrics_of(refit) == {**alone, "refit_of": str(first)}


def test_renamed_runs_stay_finished(tmp_path):
    first, refit = train(tmp_path, "--max_epochs", "1", "--refit")
    for run in (refit, first):
        run = run.rename(run.with_name(f"good_{run.name[-5:]}"))
    assert not awaits_refit(run)


def test_limit_of_time_is_for_the_first_training(tmp_path):
    first, second = train(tmp_path, "--refit", "--max_epochs", "3", "--max_time", "00:01:00:00")
    times = [yaml.safe_load((run / "config.yaml").read_text())["max_time"] for run in (first, second)]
    assert times == ["00:01:00:00", None]


def test_both_figures_are_said(tmp_path, capsys):
    first, refit = train(tmp_path, "--max_epochs", "2", "--refit")
    figures = [f"{metrics_of(run)['test/acc']:.4f}" for run in (first, refit)]
    line = f"test/acc: {figures[0]} with a validation split, {figures[1]} refit on all training samples"
    assert capsys.readouterr().out.splitlines()[-1] == line


def test_run_that_ends_before_its_schedule_follows_the_beginning_of_it(tmp_path):
    short, whole = (
        rates_of(train(tmp_path / name, "--lr_decay", "cosine", "--log_every_n_steps", "1", *flags)[0])
        for name, flags in {"short": ["--max_epochs", "2", "--lr_epochs", "3"], "whole": ["--max_epochs", "3"]}.items()
    )
    assert len(short) == 22
    assert short == {step: whole[step] for step in short}


def test_decay_every_few_epochs_is_that_of_torch(tmp_path):
    flags = "--lr 1 --lr_decay step --lr_step_epochs 3 --lr_gamma 0.5 --max_epochs 7 --log_every_n_steps 1".split()
    rates = rates_of(train(tmp_path, *flags)[0])
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    schedule, expected = lr_scheduler.StepLR(optimizer, 3, gamma=0.5), []
    for _ in range(7):
        expected += [optimizer.param_groups[0]["lr"]] * 11
        optimizer.step()
        schedule.step()
    assert list(rates.values()) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--refit", "--val_size", "0"], "--refit: needs a validation split"),
        (["--refit", "--monitor", "null"], "--refit: needs a validation split"),
        (["--refit", "--lr_decay", "plateau"], "--refit: --lr_decay plateau"),
        (["--refit", "--swa", "0.5"], "--refit: --swa 0.5"),
        (["--refit", "--max_steps", "5"], "--refit: --max_steps 5"),
        (["--refit", "--name", "n" * 60], "n_refit: has 66 characters"),
        (["--seeds", "2"], "--seeds 2: is for --folds"),
        (["--fold_seed", "2"], "--fold_seed 2: is for --folds"),
        (["--jobs", "4"], "--jobs 4: is for --folds"),
        (["--engine_args.gpus", "1"], "is for --folds"),
        (["--lr_step_epochs", "2"], "lr_step_epochs 2: is for --lr_decay step, not cosine"),
        (["--lr_step_epochs", "2", "--lr_decay", "step", "--max_steps", "5"], "lr_step_epochs 2: counts epochs"),
        (["--lr_epochs", "2", "--max_epochs", "3"], "lr_epochs 2: must be max_epochs (3) or more"),
    ],
)
def test_what_cannot_be_is_one_line(refusal, flags, named):
    assert named in refusal(mnist.main, *QUICK, *flags, recipes=mnist.RECIPES)


def test_script_that_trains_once_says_so(refusal):
    line = refusal(metric_learning.main, "--refit", "--baselines", "false")
    assert "--refit: metric_learning trains once" in line


def test_folds_choose_no_epoch(refusal):
    assert "--folds 0" in refusal(house_prices.main, "--sample", "--refit", recipes=house_prices.RECIPES)
