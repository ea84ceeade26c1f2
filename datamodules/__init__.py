"""Data sets as LightningDataModules.

Tables are imported from their own files, `house_prices` and `csv_table`: pandas takes half a second.
"""

from datamodules.cifar10 import CIFAR10
from datamodules.cifar100 import CIFAR100
from datamodules.fashion_mnist import FashionMNIST
from datamodules.folder import ImageFolder
from datamodules.images import ImageData
from datamodules.mnist import MNIST

__all__ = ["CIFAR10", "CIFAR100", "MNIST", "FashionMNIST", "ImageData", "ImageFolder"]
