"""MNIST: 70,000 handwritten digits, 28 x 28 grey (LeCun et al. 1998)."""

from datamodules import samples
from datamodules.images import ImageData


class MNIST(ImageData):
    name = "mnist"
    torchvision_name = "MNIST"
    image_shape = (28, 28)
    classes = tuple("0123456789")
    make_sample = staticmethod(samples.digits)
