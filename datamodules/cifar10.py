"""CIFAR-10: 60,000 photographs in ten classes, 32 x 32 RGB (Krizhevsky 2009)."""

from datamodules import samples
from datamodules.images import ImageData


class CIFAR10(ImageData):
    name = "cifar10"
    torchvision_name = "CIFAR10"
    image_shape = (32, 32, 3)
    classes = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    make_sample = staticmethod(samples.shapes)
    stand_in = "generated shapes in place of photographs"
