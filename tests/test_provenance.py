"""Which commit a run says it was made by."""

import subprocess

from basics import versions


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
