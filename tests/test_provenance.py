"""Which commit and which hardware a run says it was made by."""

import os
import subprocess

import pytest

from basics import versions
from harness.training.report import cpu


def git(folder, *args):
    subprocess.run(["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *args], check=True)


def test_commit_is_that_of_the_beginning(tmp_path, monkeypatch):
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    monkeypatch.setattr(versions, "ROOT", tmp_path)
    versions.git_commit.cache_clear()
    try:
        first = versions.git_commit()
        assert len(first) == 40
        (tmp_path / "code.py").write_text("2\n")  # edited while a run trains
        assert versions.versions()["git_commit"] == first
        versions.note_commit()  # the next run, of the same notebook
        assert versions.versions()["git_commit"] == f"{first}-dirty"
    finally:
        versions.git_commit.cache_clear()


def test_asking_git_writes_nothing(tmp_path, monkeypatch):
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("1\n")
    git(tmp_path, "add", ".")
    os.utime(tmp_path / "code.py", (0, 0))  # git would note that the content is the same all the same
    before = (tmp_path / ".git" / "index").read_bytes()
    monkeypatch.setattr(versions, "ROOT", tmp_path)
    assert versions.git("status", "--porcelain") == "A  code.py"
    assert (tmp_path / ".git" / "index").read_bytes() == before
    git(tmp_path, "status", "--porcelain")
    assert (tmp_path / ".git" / "index").read_bytes() != before


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to a core")
def test_hardware_is_what_a_run_may_use():
    everything = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(everything)})
        assert cpu().startswith("1 process on 1 core, ")
        assert cpu(2).startswith("2 processes on 1 core, ")
    finally:
        os.sched_setaffinity(0, everything)
