"""Proxy-NCA: one learned point for each class takes the place of its images in NCA.

Movshovitz-Attias et al. 2017, "No fuss distance metric learning using proxies".

Differences from the paper: an image's own proxy is in the denominator too, which makes it a probability, and squared
distances are scaled; both as in Teh et al. 2020, "ProxyNCA++". The loss is that of pytorch-metric-learning.
"""

from pytorch_metric_learning import losses

from basics.errors import InputError


class ProxyNCA(losses.ProxyNCALoss):
    """-log of the softmax over classes of -scale * |x - proxy|^2; both have length 1.

    Args:
        scale: of squared distances, which are 4 at most.

    Raises:
        InputError: the scale is not above 0.
    """

    def __init__(self, embedding_size: int, num_classes: int, scale: float = 8.0) -> None:
        if scale <= 0:
            raise InputError(f"loss_args scale {scale}: must be above 0")
        super().__init__(num_classes, embedding_size, softmax_scale=scale)
