"""The examples of CONTRIBUTING.md, word for word, in a copy of the project: only the files that they name are added."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sklearn.metrics import cohen_kappa_score

ROOT = Path(__file__).parents[1]
EXAMPLES = dict(re.findall(r"^```python\n# (\S+)\n(.*?)^```", (ROOT / "CONTRIBUTING.md").read_text(), re.M | re.S))
PACKAGES = ("basics", "callbacks", "datamodules", "experiments", "harness", "lit_modules")


@pytest.fixture
def project(tmp_path):
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "command", "accuracy"),  # chance is 10 % on digits, 50 % on bars
    [
        (["lit_modules/nets/tinynet.py"], "mnist.py --net tinynet --lr 0.1", 0.2),
        (["datamodules/bars.py", "experiments/bars.py"], "bars.py", 0.95),
        (["experiments/narrow.py"], "narrow.py --width 8", 0.7),
        (["callbacks/schedules/root.py"], "mnist.py --lr_decay root", 0.7),
        (["lit_modules/metrics/kappa.py"], "mnist.py --metrics kappa --monitor val/kappa", 0.7),
        (["callbacks/weight_norm.py"], "mnist.py --callbacks callbacks.weight_norm.WeightNorm", 0.7),
    ],
)
def test_example_runs_with_the_files_that_its_heading_counts(project, files, command, accuracy):
    for file in files:
        assert not (project / file).exists()
        (project / file).write_text(EXAMPLES[file])
    flags = ["--sample", "--max_epochs", "5", "--accelerator", "cpu", "--pictures", "false"]
    env = os.environ | {"PYTHONPATH": str(project), "OMP_NUM_THREADS": "1"}
    script = [sys.executable, *f"experiments/{command}".split(), *flags]
    done = subprocess.run(script, cwd=project, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (metrics,) = project.glob("runs/*/*/metrics.json")
    assert json.loads(metrics.read_text())["test/acc"] > accuracy


def test_metric_of_the_example_is_that_of_scikit_learn():
    there: dict = {}
    exec(EXAMPLES["lit_modules/metrics/kappa.py"], there)
    metric, draws = there["Kappa"](4), torch.Generator().manual_seed(0)
    logits, labels = torch.rand(50, 4, generator=draws), torch.randint(4, (50,), generator=draws)
    metric.update(logits[:30], labels[:30])
    metric.update(logits[30:], labels[30:])
    assert metric.compute() == pytest.approx(cohen_kappa_score(labels, logits.argmax(1)), abs=1e-6)
