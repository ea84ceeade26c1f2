"""What all tests share."""

import torch
from file_server import served_mnist, server  # noqa: F401  fixtures

# Batches here are small: a second thread costs more than it gives, and `make test` runs two tests at a time.
torch.set_num_threads(1)
