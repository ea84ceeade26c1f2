"""Linear maps of the pixels to compare with a network's embedding: PCA and neighbourhood components analysis."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from datamodules import ImageData

NCA_IMAGES = 2000  # to fit NCA to: its time grows with the square of their number
NCA_STEPS = 100  # of L-BFGS


def fit_pca(images: ImageData, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """The first `size` principal components of the gallery and the test images, or all if there are fewer pixels."""
    from sklearn.decomposition import PCA

    train = _pixels(images.arrays.train_images[images.train_indices])
    return _transform(PCA(min(size, *train.shape), random_state=seed).fit(train), images)


def fit_nca(images: ImageData, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """The same for the linear map of Goldberger et al. 2004, fitted to `NCA_IMAGES` training images, from PCA on."""
    from sklearn.neighbors import NeighborhoodComponentsAnalysis

    chosen = np.random.default_rng(seed).permutation(images.train_indices)[:NCA_IMAGES]
    train, labels = _pixels(images.arrays.train_images[chosen]), images.arrays.train_labels[chosen]
    size = min(size, *train.shape)
    nca = NeighborhoodComponentsAnalysis(size, init="pca", max_iter=NCA_STEPS, random_state=seed)
    return _transform(nca.fit(train, labels), images)


def _transform(fitted: Any, images: ImageData) -> tuple[Tensor, Tensor]:
    train, test = (
        torch.from_numpy(fitted.transform(_pixels(part)).astype(np.float32))
        for part in (images.arrays.train_images, images.arrays.test_images)
    )
    return train, test


def _pixels(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float32) / 255  # (N, H * W)
