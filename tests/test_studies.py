"""What each study ends with: a command to try next, whose flags are those of the study."""

import importlib
import re
import shlex
from pathlib import Path

import pytest

from harness.command_line.cli import cli
from harness.tasks.study import Study, StudyFlags

ROOT = Path(__file__).parents[1]
COMMANDS = {
    path.stem: found[1]
    for path in sorted(ROOT.glob("experiments/*.py"))
    if (found := re.search(r'^TRY_NEXT = \(?\s*"(.*)"', path.read_text(), re.MULTILINE))
}
STUDIES = {
    "activations", "augmentations", "autograd", "backpropagation", "convolution", "data_loading", "depth",
    "from_scratch", "himmelblau", "information", "invariance", "linear_regression", "logistic_regression",
    "metric_learning", "normalisation", "optimizers", "overfitting", "perceptron", "tensors",
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
            options = {"chosen_by": "loss"} if name == "metric_learning" else {}
            cli(script.main, getattr(script, "RECIPES", None), [*given, "--print_config"], **options)
        assert end.value.code == 0
        configs.append(capsys.readouterr().out)
    assert configs[0] != configs[1]


def test_study_prints_it_last(tmp_path, capsys):
    Study("himmelblau", StudyFlags(run_dir=str(tmp_path)), "x", try_next="--seed 1  # why").conclude({}, {})
    said = ["to try next: why", "    python experiments/himmelblau.py --seed 1"]
    assert capsys.readouterr().out.splitlines()[-2:] == said
