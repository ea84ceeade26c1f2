"""compare.py --results: the page of measured results, from the files of runs."""

import io
import json
import re
import shlex
import shutil
import statistics
from contextlib import redirect_stdout
from pathlib import Path

import pytest
import yaml

from basics.versions import ROOT
from experiments import compare, finetune, house_prices, metric_learning, mnist
from harness.command_line.cli import cli
from harness.runs.states import read_config, read_metrics

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TINY = ["--sample", "--max_epochs", "1", "--pictures", "false", "--accelerator", "cpu"]


def run_all(folder):
    """Runs of three scripts, two seeds of one configuration among them, as if made by a commit."""
    places = ["--run_dir", str(folder)]
    for seed in ("0", "1"):
        cli(mnist.main, mnist.RECIPES, ["--net", "softmax", *TINY, *places, "--seed", seed])
    flags = ["--net", "mlp", *TINY, *places, "--net_args.widths", "[32]", "--optimizer", "adamw"]
    cli(mnist.main, mnist.RECIPES, flags)
    flags = ["--net", "linear", *TINY, *places, "--folds", "2", "--jobs", "1", "--fold_seed", "4"]
    cli(house_prices.main, house_prices.RECIPES, flags)
    flags = [*TINY[1:], *places, "--loss", "triplet", "--net", "lenet5", "--baselines", "false"]
    cli(metric_learning.main, metric_learning.RECIPES, flags)
    (mlp,) = folder.glob("mnist/*mlp*")
    cli(finetune.main, None, [str(mlp), *TINY, *places, "--data", "fashion_mnist"])
    for path in folder.glob("*/*/metrics.json"):
        path.write_text(json.dumps(read_metrics(path.parent) | {"git_commit": COMMIT}))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    run_all(folder)
    return folder


@pytest.fixture(scope="module")
def page(runs):
    with redirect_stdout(io.StringIO()) as out:
        assert compare.main([str(runs)], results=True) == []
    return out.getvalue()


@pytest.fixture
def copy(runs, tmp_path):
    return Path(shutil.copytree(runs, tmp_path / "copy"))


def section(page, title):
    return next(part for part in page.split("\n## ") if part.startswith(title + "\n"))


def test_line_has_each_seed_and_the_mean_of_the_files(runs, page):
    found = [read_metrics(run) for run in sorted(runs.glob("mnist/*softmax*"))]
    tested = [metrics["test/acc"] for metrics in found]
    lines = section(page, "mnist, embedded sample").splitlines()
    (line,) = (line for line in lines if line.startswith("| softmax | 7"))
    assert line.split(" | ")[1:3] == ["7,850", "1"]
    mean, spread = 100 * statistics.fmean(tested), 100 * statistics.stdev(tested)
    assert f"| {100 * tested[0]:.2f}, {100 * tested[1]:.2f} % | {mean:.2f} ± {spread:.2f} % |" in line
    assert f"| 0 1 | {COMMIT[:8]} | python 3." in page


def test_command_has_what_differs_from_the_recipe_and_no_more(page):
    commands = [shlex.split(command) for command in re.findall(r"`python experiments/(.*?)`", page)]
    # By script and network, or for finetune.py the path of a run, which has no --net.
    words = {f"{its[0]} {its[2] if its[1] == '--net' else ''}".strip(): its for its in commands}
    tiny = {"--sample", "--max_epochs", "--pictures", "--accelerator"}
    named = {key: {word for word in its if word.startswith("--")} - tiny for key, its in words.items()}
    assert named == {
        "mnist.py softmax": {"--net", "--seed"},
        "mnist.py mlp": {"--net", "--net_args.widths", "--optimizer", "--seed"},
        "house_prices.py linear": {"--net", "--folds", "--fold_seed"},
        "metric_learning.py lenet5": {"--net", "--loss", "--baselines", "--seed"},
        "finetune.py": {"--data", "--seed"},
    }
    assert words["house_prices.py linear"][-2:] == ["--fold_seed", "4"]


def test_command_makes_the_same_flags(runs, page, tmp_path, monkeypatch):
    (command,) = re.findall(r"`python experiments/(mnist.py --net mlp .*?)`", page)
    monkeypatch.chdir(tmp_path)
    cli(mnist.main, mnist.RECIPES, shlex.split(command)[1:])
    (again,), (first,) = tmp_path.glob("runs/mnist/*"), runs.glob("mnist/*mlp*")
    apart = {"run_dir", "started_by"}
    assert {name: value for name, value in read_config(again).items() if name not in apart} == {
        name: value for name, value in read_config(first).items() if name not in apart
    }
    assert read_metrics(again)["test/loss"] == read_metrics(first)["test/loss"]


def test_robustness_stands_beside_the_accuracy(copy, capsys):
    found = {"calibration_error": 0.0123, "calibration_error_at_temperature": 0.004, "accuracy": {"turned": 0.5}}
    first = min(copy.glob("mnist/*softmax*"))
    (first / "robustness.json").write_text(json.dumps(found))
    for run in {*copy.glob("*/*")} - {*copy.glob("mnist/*")}:
        shutil.rmtree(run)
    capsys.readouterr()
    compare.main([str(copy)], results=True)
    assert "| softmax | 1.23 % | 0.40 % | 50.00 % |" in capsys.readouterr().out


def test_note_beside_runs_stands_in_their_section(copy, capsys):
    (copy / "house_prices" / "note.md").write_text("Two folds only.\n")
    capsys.readouterr()
    compare.main([str(copy)], results=True)
    notes = capsys.readouterr().out
    assert "## house_prices, embedded sample, cross-validated\n\nTwo folds only.\n\n|" in notes
    assert notes.count("Two folds only.") == 1


def test_run_whose_epoch_was_chosen_by_loss_is_read_for_its_accuracy(copy, capsys):
    for run in {*copy.glob("*/*")} - {*copy.glob("mnist/*mlp*")}:
        shutil.rmtree(run)
    (run,) = copy.glob("mnist/*")
    change(run / "config.yaml", monitor="val/loss")
    metrics = read_metrics(run)
    capsys.readouterr()
    compare.main([str(copy)], results=True)
    page = capsys.readouterr().out
    assert "| val/loss | test/acc of each seed | test/acc |" in page
    assert f"| {metrics['val/loss']:.4f} | {100 * metrics['test/acc']:.2f} % |" in page


def change(path, **new):
    read, write = (yaml.safe_load, yaml.safe_dump) if path.suffix == ".yaml" else (json.loads, json.dumps)
    path.write_text(write(read(path.read_text()) | new))


@pytest.mark.parametrize(
    ("file", "new", "said"),
    [
        ("metrics.json", {"git_commit": f"{COMMIT}-dirty"}, "was made by changed code"),
        ("metrics.json", {"git_commit": None}, "was made by code outside git"),
        ("metrics.json", {"test_evaluations": 2}, "has used the test set 2 times"),
        ("metrics.json", {"val/acc": None}, "has no val/acc, which others of its section have"),
        ("config.yaml", {"started_by": None}, "was started from Python"),
        ("config.yaml", {"no_such_flag": 3}, "mnist.py of today cannot make it; --no_such_flag"),
    ],
)
def test_run_that_nobody_could_make_again_is_refused(copy, refusal, file, new, said):
    (run,) = copy.glob("mnist/*mlp*")
    change(run / file, **new)
    line = refusal(compare.main, str(copy), "--results")
    assert str(run) in line and said in line


def test_unfinished_run_and_doubled_seed_are_refused(copy, refusal):
    _, second = sorted(copy.glob("mnist/*softmax*"))
    change(second / "config.yaml", seed=0)
    assert "seed 0 again" in refusal(compare.main, str(copy), "--results")
    (second / "metrics.json").unlink()
    assert str(second) in refusal(compare.main, str(copy), "--results")


def test_seeds_of_training_and_of_folds_are_told_apart(copy, capsys):
    (first,) = copy.glob("house_prices/*")
    for seed in (1, 2):
        other = Path(shutil.copytree(first, first.with_name(f"{first.name}_seed={seed}")))
        change(other / "config.yaml", seed=seed)
    for run in {*copy.glob("*/*")} - {*copy.glob("house_prices/*")}:
        shutil.rmtree(run)
    capsys.readouterr()
    compare.main([str(copy)], results=True)
    (line,) = re.findall(r"`python .*", capsys.readouterr().out)
    assert "--fold_seed 4 --folds 2" in line and "--seed 0` | 0-2 |" in line


def test_line_has_a_value_for_each_seed_unless_all_are_alike(copy, capsys):
    for run, seconds in zip(sorted(copy.glob("mnist/*softmax*")), (52.2, 45.9), strict=True):
        change(run / "metrics.json", seconds=seconds)
    third = Path(shutil.copytree(run, run.with_name(f"{run.name}_again")))
    change(third / "config.yaml", seed=2)
    capsys.readouterr()
    compare.main([str(copy)], results=True)
    assert "| softmax | 7,850 | 1 | 52; 46; 46 |" in capsys.readouterr().out


def test_flags_that_the_page_would_ignore_are_refused(copy, refusal):
    assert "leave out" in refusal(compare.main, str(copy), "--results", "--format", "csv")


def test_page_in_docs_is_made_of_its_files(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    compare.main(["docs/results"], results=True)
    assert capsys.readouterr().out.rstrip("\n") == (ROOT / "docs" / "results.md").read_text().rstrip("\n")
