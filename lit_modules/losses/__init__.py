"""Losses on embeddings, found by name, one in a file.

Each is a module, built as `loss(embedding_size, num_classes, **options)`, from embeddings, (B, D), and labels from
0 on, (B,), to the batch's mean loss. What it learns itself, such as proxies, is among its parameters.

If pytorch-metric-learning has a loss, it is used. On several devices, losses that compare images with each other see
only the pairs within one device's batch.
"""

from typing import Any

from torch import nn

from basics.choose import choose
from lit_modules.losses.center import Center
from lit_modules.losses.contrastive import Contrastive
from lit_modules.losses.nca import NCA
from lit_modules.losses.proxy_nca import ProxyNCA
from lit_modules.losses.softmax import Softmax
from lit_modules.losses.triplet import Triplet
from lit_modules.options import check_options

LOSSES = {
    "softmax": Softmax,
    "center": Center,
    "nca": NCA,
    "proxy_nca": ProxyNCA,
    "triplet": Triplet,
    "contrastive": Contrastive,
}


def build_loss(name: str, embedding_size: int, num_classes: int, **options: Any) -> nn.Module:
    """Builds the loss called `name`.

    Raises:
        InputError: there is no such loss, it has no such option, or a value is wrong.
    """
    loss = choose("loss", name, LOSSES)
    check_options("loss_args", name, loss, options)
    return loss(embedding_size, num_classes, **options)
