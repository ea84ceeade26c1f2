"""Fixtures and helpers that all tests share."""

import pytest
import torch
from file_server import served_mnist, server  # noqa: F401  fixtures

from harness.command_line.cli import cli

# Batches here are small: a second thread costs more than it gives, and `make test` runs two tests at a time.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def one_thread_again():
    """Lightning's launchers set another number, and a process forked after that may wait for their threads for ever."""
    yield
    torch.set_num_threads(1)


@pytest.fixture
def refusal(tmp_path, monkeypatch, capsys):
    """Calls a script with bad input, and returns the one line that it must end with, having made no run."""

    def call(main, *flags, recipes=None):
        monkeypatch.chdir(tmp_path)
        before = set(tmp_path.glob("runs/*/*"))
        with pytest.raises(SystemExit) as end:
            cli(main, recipes, flags)
        assert end.value.code == 2
        assert set(tmp_path.glob("runs/*/*")) == before
        lines = capsys.readouterr().err.splitlines()
        (line,) = (line for line in lines if "Warning" not in line and not line.startswith("  "))  # Python's own
        assert line.startswith("error: ")
        return line

    return call
