"""What needs a cluster or a database server: started here, and skipped with a reason where it is not installed."""

import shutil
from pathlib import Path

import pytest
from slurm_server import running, why_not


def pytest_collection_modifyitems(items):
    for item in (item for item in items if item.path.is_relative_to(Path(__file__).parent)):
        item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """A SLURM of two nodes, which this process's commands find."""
    if reason := why_not():
        pytest.skip(reason)
    pytest.importorskip("submitit")
    folder = tmp_path_factory.mktemp("slurm")
    with pytest.MonkeyPatch.context() as patch, running(folder) as its:
        patch.setenv("SLURM_CONF", str(its.conf))
        patch.setenv("OMP_NUM_THREADS", "1")  # of the jobs
        yield its
    shutil.rmtree(folder)
