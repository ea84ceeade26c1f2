"""Training batches of images with masks, which say of what class each pixel is."""

from typing import Any

import torch
from torch import Tensor

from datamodules.augment import Moment
from datamodules.batches import Batch, TrainBatches


class MaskBatches(TrainBatches):
    """Training batches of images and masks, augmented together.

    A mask is turned, bent or moved as the shares that classes have in its pixels; then the largest share is the class.
    What comes in from outside the image is class 0, and black in the image, except with `shift`, which mirrors both.

    Args:
        moves: whether each of the augmentations moves pixels.
    """

    def __init__(self, *args: Any, num_classes: int, moves: list[bool], **options: Any) -> None:
        super().__init__(*args, **options)
        self.num_classes, self.moves = num_classes, moves

    def _augment(self, images: Tensor, labels: Tensor, moment: Moment) -> Batch:
        if not any(self.moves):
            return super()._augment(images, labels, moment)
        classes = torch.arange(self.num_classes, dtype=labels.dtype, device=labels.device)
        shares = (labels.unsqueeze(1) == classes.view(-1, 1, 1)).to(images.dtype)  # (B, num_classes, H, W)
        for augmentation, moves in zip(self.augmentations, self.moves, strict=True):
            if moves:  # all channels alike
                both = augmentation(torch.cat([images, shares], dim=1), moment)
                images, shares = both.split([images.shape[1], self.num_classes], dim=1)
            else:
                images = augmentation(images, moment)
        outside = 1 - shares.sum(1)  # (B, H, W)
        shares = torch.cat([shares[:, :1] + outside[:, None], shares[:, 1:]], dim=1)
        return images, shares.argmax(1).to(labels.dtype)
