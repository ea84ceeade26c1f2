"""What each study ends with: a command to try next, whose flags are those of the study."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
import yaml

from harness.command_line.cli import cli
from harness.tasks.study import PATH, Study, StudyFlags, are_given, print_next

ROOT = Path(__file__).parents[1]
COMMANDS = {
    path.stem: found[1]
    for path in sorted(ROOT.glob("experiments/*.py"))
    if (found := re.search(r'^TRY_NEXT = \(?\s*"(.*)"', path.read_text(), re.MULTILINE))
}
STUDIES = {
    "activations", "augmentations", "autograd", "backpropagation", "convolution", "data_loading", "depth",
    "from_scratch", "himmelblau", "information", "invariance", "linear_regression", "logistic_regression",
    "metric_learning", "normalisation", "optimizers", "overfitting", "perceptron", "segmentation", "tensors",
}  # fmt: skip


def test_each_study_has_something_to_try_next():
    assert set(COMMANDS) >= STUDIES


@pytest.mark.parametrize("name", COMMANDS)
def test_command_to_try_next_is_parsed_and_changes_something(name, capsys):
    script = importlib.import_module(f"experiments.{name}")
    flags = shlex.split(script.TRY_NEXT, comments=True)
    assert flags[0].startswith("--") and "#" in script.TRY_NEXT  # with its reason
    assert len(f"python experiments/{name}.py {script.TRY_NEXT}") < 140
    configs = []
    for given in ([], flags):
        with pytest.raises(SystemExit) as end:
            cli(script.main, getattr(script, "RECIPES", None), [*given, "--print_config"])
        assert end.value.code == 0
        configs.append(yaml.safe_load(capsys.readouterr().out))
    assert [are_given(script.TRY_NEXT.partition("#")[0], config) for config in configs] == [False, True]


@pytest.mark.parametrize("name", sorted(STUDIES))
def test_notes_answer_the_question_of_each_study(name):
    answers = (ROOT / "docs" / "notes.md").read_text().partition("## What you should find")[2]
    flags = importlib.import_module(f"experiments.{name}").TRY_NEXT.partition("  #")[0]
    assert f"\n| `{name}.py {flags}` | " in answers


def test_study_prints_it_last(tmp_path, capsys):
    Study("himmelblau", StudyFlags(run_dir=str(tmp_path)), try_next="--seed 1  # why").conclude({}, {})
    said = ["to try next: why", "    python experiments/himmelblau.py --seed 1"]
    assert capsys.readouterr().out.splitlines()[-2:] == said


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sigmoid/cross_entropy/test_acc", "sigmoid, cross entropy, test accuracy"),
        ("batch16/w", "batch 16, slope"),
        ("lead/natural_4px", "lead of the averaging CNN over the MLP, in points, natural 4 px"),
        ("smoothing0.1/floor", "smoothing 0.1, lowest possible loss"),
        ("df/dx1", "df/dx1"),
        ("noisy/wrong_by_logistic", "noisy, points on the wrong side of logistic regression's line"),
    ],
)
def test_numbers_of_a_study_are_told_in_words(tmp_path, capsys, name, words):
    study = Study("himmelblau", StudyFlags(run_dir=str(tmp_path)))
    assert study.conclude({name: 0.5}, {})[name] == 0.5  # metrics.json keeps the short name
    assert f"{words}: 0.5" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("script", "said"),
    [("himmelblau", "to try next: the next study\n    python experiments/optimizers.py"), ("segmentation", "")],
)
def test_what_has_just_been_tried_is_not_to_be_tried_next(script, said, capsys):
    given = {"lr": 0.03, "depths": [6, 50], "sample": False, "seed": 1}
    print_next(script, "--lr 0.03 --depths 6,50 --sample false  # why", given)
    assert capsys.readouterr().out.strip() == said
    print_next(script, "--lr 0.03 --depths 6 --sample false  # why", given)
    assert "to try next: why" in capsys.readouterr().out


def test_the_next_study_is_the_next_one_of_the_path_in_the_readme():
    section = (ROOT / "README.md").read_text().partition("## If you are learning")[2].partition("[docs/notes.md]")[0]
    named = [name for name in re.findall(r"`(\w+)(?:`|[ ])", section) if name in STUDIES]
    assert list(dict.fromkeys(named)) == list(PATH)
