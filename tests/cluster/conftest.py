"""What needs a cluster, a database or shared storage: started here, and skipped with a reason where it is missing."""

import shutil
import tempfile
from pathlib import Path

import postgres_server
import pytest
import slurm_server


def pytest_collection_modifyitems(items):
    for item in (item for item in items if item.path.is_relative_to(Path(__file__).parent)):
        item.add_marker(pytest.mark.cluster)


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """A SLURM, which this process's commands find."""
    if reason := slurm_server.why_not():
        pytest.skip(reason)
    pytest.importorskip("submitit", reason="needs the package submitit")
    folder = tmp_path_factory.mktemp("slurm")
    with pytest.MonkeyPatch.context() as patch, slurm_server.running(folder) as its:
        patch.setenv("SLURM_CONF", str(its.conf))
        patch.setenv("OMP_NUM_THREADS", "1")  # of the jobs
        yield its
    shutil.rmtree(folder)


@pytest.fixture(scope="module")  # sweeps of other modules have the same name
def postgres():
    """A server with a password, which this process knows."""
    if reason := postgres_server.why_not():
        pytest.skip(reason)
    pytest.importorskip("psycopg", reason="needs the package psycopg[binary]")
    with tempfile.TemporaryDirectory() as parent, pytest.MonkeyPatch.context() as patch:
        Path(parent).chmod(0o755)  # the server's user has to get in
        patch.setenv("PGPASSWORD", postgres_server.PASSWORD)
        patch.setenv("OMP_NUM_THREADS", "1")
        with postgres_server.serving(Path(parent) / "server") as its:
            yield its
