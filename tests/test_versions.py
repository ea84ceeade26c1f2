"""`make test-versions`: what it reports about a run of the tests."""

import subprocess
import sys
from pathlib import Path

import pytest
import versions

ROOT = Path(__file__).parents[1]
TESTS = """import pytest
def test_a(): pass
def test_b(): pass
def test_c(): assert 0
@pytest.mark.skip
def test_d(): pass
def test_e(unknown): pass
"""


def test_results_are_those_that_pytest_counts(tmp_path):
    (tmp_path / "test_five.py").write_text(TESTS)
    results = tmp_path / "results.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path]
    run = subprocess.run([*command, f"--junitxml={results}"], cwd=tmp_path, capture_output=True, text=True)
    assert "1 failed, 2 passed, 1 skipped, 1 error" in run.stdout
    counts = versions.count(results)
    assert counts == {"passed": 2, "failed": 2, "skipped": 1}
    assert not versions.is_green(counts)


def test_run_that_left_no_results_is_not_green(tmp_path):
    assert not versions.is_green(versions.count(tmp_path / "none.xml"))


def test_page_has_a_row_for_each_requirement_and_a_column_for_each_environment():
    requirements = "# a comment\ntorch>=2.11\njsonargparse[signatures]>=4.53,<5  # flags\nPyYAML>=6\n"
    counts = {"passed": 1680, "failed": 0, "skipped": 3}
    old = {"python": "3.10.13", "torch": "2.11.0", "jsonargparse": "4.53.0", "pyyaml": "6.0"}
    page = versions.write_page(requirements, {"oldest": (old, counts), "newest": (old | {"torch": "2.15.0"}, counts)})
    assert page.splitlines()[-9:] == [
        "|  | oldest | newest |",
        "| --- | --- | --- |",
        "| python | 3.10.13 | 3.10.13 |",
        "| torch | 2.11.0 | 2.15.0 |",
        "| jsonargparse | 4.53.0 | 4.53.0 |",
        "| PyYAML | 6.0 | 6.0 |",
        "| **passed** | 1,680 | 1,680 |",
        "| **failed** | 0 | 0 |",
        "| **skipped** | 3 | 3 |",
    ]


@pytest.mark.parametrize("name", versions.ENVIRONMENTS)
def test_environments_are_not_committed(name):
    ignored = subprocess.run(["git", "check-ignore", f".venv-versions/{name}/bin/python"], cwd=ROOT)
    assert ignored.returncode == 0
