"""Fashion-MNIST: 70,000 articles of clothing, 28 x 28 grey (Xiao et al. 2017). Its sample is the digits."""

from datamodules import samples
from datamodules.images import ImageData


class FashionMNIST(ImageData):
    name = "fashion_mnist"
    torchvision_name = "FashionMNIST"
    image_shape = (28, 28)
    classes = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
    make_sample = staticmethod(samples.digits)
    stand_in = "digits in place of clothing"
