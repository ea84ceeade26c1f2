"""A run whose directory is on a network file system, seen from two places as by two machines."""

import gluster_server
import pytest
from fold_runs import wait_for
from interrupt import assert_same_weights, only_run, start

from experiments import mnist

FLAGS = ["--sample", "--net", "lenet5", "--accelerator", "cpu", "--max_epochs", "40", "--checkpoint_every", "5"]
QUIET = ["--pictures", "false", "--enable_progress_bar", "false"]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    if reason := gluster_server.why_not():
        pytest.skip(reason)
    with gluster_server.mounted_twice(tmp_path_factory.mktemp("gluster")) as its:
        yield its


def test_a_run_is_locked_for_other_machines_and_goes_on_exactly_when_its_own_is_lost(places, refusal, tmp_path):
    one, other = places
    first = start("mnist", *FLAGS, *QUIET, "--run_dir", str(one))
    try:
        wait_for(lambda: next(one.glob("mnist/*/checkpoints/last.ckpt"), None))
        seen = only_run(other)
        line = refusal(mnist.main, "--resume", str(seen), recipes=mnist.RECIPES)
        assert line == f"error: {seen}: another process is training this run"
        assert first.poll() is None
    finally:
        first.kill()
        output, _ = first.communicate()
    assert "epoch 40/40" not in output
    second = start("mnist", *FLAGS, *QUIET, "--run_dir", str(other), "--resume", "auto")
    output, _ = second.communicate()
    assert "continues after step" in output
    whole = start("mnist", *FLAGS, *QUIET, "--run_dir", str(tmp_path))
    whole.communicate()
    assert second.returncode == whole.returncode == 0
    assert_same_weights(only_run(one), only_run(tmp_path))
