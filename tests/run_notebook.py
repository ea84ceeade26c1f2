"""Runs notebooks/tour.ipynb, and stores in it what its cells put out: `make notebook`."""

import hashlib
import os
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "notebooks" / "tour.ipynb"
TIMEOUT = 600  # seconds that a cell may take


def executed(notebook: Path, folder: Path) -> NotebookNode:
    """The notebook with the outputs of a run in `folder`, by a kernel with nobody's settings.

    Raises:
        CellExecutionError: a cell has failed.
    """
    content = nbformat.read(notebook, as_version=4)
    options = dict(timeout=TIMEOUT, kernel_name="python3", coalesce_streams=True, record_timing=False)
    client = NotebookClient(content, resources={"metadata": {"path": str(folder)}}, **options)
    with tempfile.TemporaryDirectory() as settings:
        client.execute(env=os.environ | {"PYTHONPATH": str(ROOT), "IPYTHONDIR": settings})
    content.metadata["language_info"] = {"name": "python"}  # whatever its version
    content.metadata["outputs_of"] = fingerprint(content)
    return content


def fingerprint(notebook: NotebookNode) -> str:
    """Changes with the code, so that one can see whether the stored outputs are those of this code."""
    code = "\n".join(cell["source"] for cell in notebook.cells if cell.cell_type == "code")
    return hashlib.sha256(code.encode()).hexdigest()[:16]


if __name__ == "__main__":
    nbformat.write(executed(NOTEBOOK, NOTEBOOK.parent), NOTEBOOK)
