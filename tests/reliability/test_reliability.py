"""Kills, signals, damage and full disks: each check a few times in `make test`, often in `make torture`.

The long run writes docs/reliability.md. Linux only: it looks into /proc.
"""

import platform
import sys
import time
from pathlib import Path

import pytest
import torch
from checks import CHECKS, ROOT, Check
from runs_to_kill import Lab

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
REPORT = ROOT / "docs" / "reliability.md"
NAMES = [check.name for check in CHECKS]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    return Lab(tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="module")
def rows():
    """Collects the rows of the table, and writes it at the end if all checks ran."""
    rows = []
    yield rows
    if len(rows) == len(CHECKS):
        write_report(REPORT, rows)


@pytest.mark.parametrize("check", [check for check in CHECKS if check.short], ids=lambda check: check.name)
def test_short(lab, check):
    check.function(lab, check.short)


@pytest.mark.torture
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_long(lab, rows, check):
    started = time.monotonic()
    print(f"\n{check.name}: {check.long} times", flush=True)
    try:
        found, error = check.function(lab, check.long), None
    except Exception as failed:  # a row in any case
        found, error = f"FAILED: {str(failed).splitlines()[0][:300]}", failed
    rows.append((check, found, time.monotonic() - started))
    print(f"{found}, {time.monotonic() - started:.0f} s", flush=True)
    if error:
        raise error


def write_report(path: Path, rows: list[tuple[Check, str, float]]) -> None:
    lines = path.read_text().partition("| test |")[0] if path.exists() else ""
    lines += "| test | passes if | result | seconds |\n| --- | --- | --- | ---: |\n"
    for check, found, seconds in rows:
        lines += f"| {check.name} | {check.criterion} | {found.replace('|', '/')} | {seconds:.0f} |\n"
    about = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next(line.partition(": ")[2] for line in about if line.startswith("model name"))
    lines += f"\n`make torture`, in {sum(seconds for *_, seconds in rows) / 60:.0f} minutes, one thread to a process,"
    lines += f" {cpu}, Python {platform.python_version()}, torch {torch.__version__}.\n"
    path.write_text(lines)
