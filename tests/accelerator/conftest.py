"""What needs a GPU: skipped where there is none. `TEST_ACCELERATOR=cpu make test-cuda` tries the tests themselves."""

from pathlib import Path

import pytest
import torch
from accelerated_runs import ACCELERATOR


def pytest_collection_modifyitems(items):
    for item in (item for item in items if item.path.is_relative_to(Path(__file__).parent)):
        item.add_marker(pytest.mark.cuda)
        if ACCELERATOR == "cuda" and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no GPU here that torch can use"))


@pytest.fixture
def accelerator():
    return ACCELERATOR


@pytest.fixture(autouse=True)
def own_kernels():
    """Puts back torch's flags, which are the process's."""
    mode, benchmark = torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark
    yield
    torch.set_deterministic_debug_mode(mode)
    torch.backends.cudnn.benchmark = benchmark
