"""Initial weights of convolutions."""

from torch import nn

__all__ = ["he_normal"]


def he_normal(module: nn.Module) -> None:
    """Draws a convolution's weights from N(0, 2 / fan-out); other layers stay. For `net.apply`.

    He et al. 2015, "Delving deep into rectifiers": keeps the variance of gradients through rectifiers.
    Fan-out rather than fan-in, as in the Torch code of He et al. 2016 (ResNet) and Huang et al. 2017 (DenseNet).
    """
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
