"""Segmentation, a class for each pixel, by any network for it: cross-entropy, Dice, IoU and pixel accuracy."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from basics.errors import InputError
from lit_modules.means import precise, total, widest
from lit_modules.nets import build_pixel_net
from lit_modules.normalise import Normalise
from lit_modules.optimizers import OptimizerOptions
from lit_modules.stages import Batch, Learnt, Stages

SMOOTHING = (
    1.0  # pixels added to both counts of the Dice loss: a class in no mask costs nothing then, if it is not predicted
)


@dataclass(frozen=True, kw_only=True)
class SegmenterOptions(OptimizerOptions):
    """What a segmentation is learnt by.

    Args:
        binary: one output for each pixel, by a sigmoid: whether it is of any class but the first. Otherwise there is
            one for each class, by a softmax, and the largest is the class.
        threshold: with binary, the probability from which on a pixel counts as an object.
        dice: weight of the Dice loss, which counts small classes as much as large ones; 0: off. Unlike that of
            Milletari et al. 2016 it has no squares in its denominator.

    Raises:
        InputError: a number is out of its range.
    """

    binary: bool = False
    threshold: float = 0.5
    dice: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise InputError(f"threshold {self.threshold:g}: must be between 0 and 1")
        if self.dice < 0:
            raise InputError(f"dice {self.dice:g}: must not be negative")


class Segmenter(Stages):
    """Trains a network to tell the class of each pixel. All arguments are plain data, kept in each checkpoint.

    The input is normalised here, not in the data: a checkpoint holds all it takes to segment an image. Each stage logs
    `loss`, the mean cross-entropy of a pixel, without the Dice loss; `acc`, the share of pixels that are right; and
    `iou` and `dice`, the means over classes of the two measures below, or with `binary` those of the objects alone. All
    pixels of a stage, on all devices, are counted first, and divided then. A class that is neither in a mask nor
    predicted has no value, and is left out. The test logs the IoU of each class too, as `iou_<class>`.

        IoU = right / (true + predicted - right)        Dice = 2 right / (true + predicted)

    Args:
        net: a name of the networks for pixels in `lit_modules.nets`.
        input_shape: (C, H, W).
        mean: of the training pixels, per channel; subtracted from the input.
        std: of the training pixels, per channel; divides the input.
        net_args: options of the network.
        classes: their names, in the order of their numbers; kept for predictions.
        options: those of `SegmenterOptions`.

    Raises:
        InputError: a name is unknown or a number out of its range.
    """

    metrics = ("loss", "iou", "dice", "acc")
    options_type = SegmenterOptions

    def __init__(
        self,
        net: str,
        input_shape: Sequence[int],
        num_classes: int,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        net_args: dict[str, Any] | None = None,
        classes: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        input_shape, mean, std = tuple(input_shape), tuple(mean), tuple(std)
        chosen = SegmenterOptions(**options)
        if chosen.binary and num_classes != 2:
            raise InputError(f"binary: tells two classes apart, not {num_classes}")
        self.save_hyperparameters(logger=False)
        self.hparams.update(asdict(chosen))  # those that have their defaults too
        self.num_classes, self.binary, self.dice = num_classes, chosen.binary, chosen.dice
        self.cut = math.log(chosen.threshold / (1 - chosen.threshold))  # the threshold of a logit
        self.names = [str(name) for name in classes or range(num_classes)]
        self.net = build_pixel_net(net, input_shape, 1 if chosen.binary else num_classes, **(net_args or {}))
        self.normalise = Normalise(mean, std)
        self.example_input_array = torch.zeros(2, *input_shape)
        self.iou_by_class: dict[str, float] = {}  # of the last evaluation
        self.configure_optimizers()  # refuses a wrong option now

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (B, num_classes, H, W), or with binary (B, 1, H, W), of images in 0..1, (B, C, H, W)."""
        return precise(self.net(self.normalise(images)))

    def classify(self, logits: Tensor) -> Tensor:
        """The number of each pixel's class, (B, H, W), of logits as `forward` returns them."""
        return (logits[:, 0] >= self.cut).long() if self.binary else logits.argmax(1)

    def learn(self, images: Tensor, masks: Tensor) -> Learnt:
        logits = self(images)
        loss = self._cross_entropy(logits, masks) / masks[0].numel() / len(masks)
        counts = self._confusion(logits, masks).sum(0)
        sums = {"loss": total(loss, masks), **self._sums(counts)}
        return (loss + self.dice * self._dice_loss(logits, masks) if self.dice else loss), sums

    def _cross_entropy(self, logits: Tensor, masks: Tensor) -> Tensor:
        """The sum over all pixels."""
        if self.binary:
            return F.binary_cross_entropy_with_logits(logits[:, 0], masks.to(logits.dtype), reduction="sum")
        # Not of class numbers, whose gradient CUDA adds up in another order each time.
        return F.cross_entropy(logits, self._one_hot(masks).to(logits.dtype), reduction="sum")

    def _dice_loss(self, logits: Tensor, masks: Tensor) -> Tensor:
        """1 - Dice, with probabilities in place of predictions; the mean over classes, or that of the objects."""
        shares = logits.sigmoid() if self.binary else logits.softmax(1)
        true = self._one_hot(masks)[:, 1:] if self.binary else self._one_hot(masks)
        both, either = ((shares * true).sum((0, 2, 3)), (shares + true).sum((0, 2, 3)))  # (C,) each
        return 1 - ((2 * both + SMOOTHING) / (either + SMOOTHING)).mean()

    def _one_hot(self, masks: Tensor) -> Tensor:
        """Whether each pixel, (B, H, W), is of each class: booleans, (B, num_classes, H, W)."""
        classes = torch.arange(self.num_classes, dtype=masks.dtype, device=masks.device)
        return masks.unsqueeze(1) == classes.view(-1, 1, 1)

    @torch.no_grad()
    def _confusion(self, logits: Tensor, masks: Tensor) -> Tensor:
        """How many pixels of each image are of one class, and predicted as another: (B, num_classes, num_classes)."""
        true, predicted = (self._one_hot(each).flatten(2) for each in (masks, self.classify(logits)))  # (B, C, H * W)
        # Not a product of matrices, which autocast would round.
        rows = [(of_class.unsqueeze(1) & predicted).sum(2, dtype=widest(masks.device)) for of_class in true.unbind(1)]
        return torch.stack(rows, dim=1)

    def _sums(self, counts: Tensor) -> dict[str, Tensor]:
        """What the metrics follow from: for each class, the pixels that are right, are it, and are predicted as it."""
        parts = {"right": counts.diagonal(), "true": counts.sum(1), "predicted": counts.sum(0)}
        return {f"{part}_{number}": each for part, values in parts.items() for number, each in enumerate(values)}

    def _evaluate(self, stage: str, batch: Batch) -> Tensor:
        """Returns the confusion matrix of each image, (B, num_classes, num_classes)."""
        images, masks = batch
        logits = self(images)
        confusion = self._confusion(logits, masks)
        # The sum, unlike the mean, is right for an empty batch, which a rank may get at the end.
        loss = self._cross_entropy(logits, masks) / masks.shape[1:].numel()
        self.means[stage].add(len(masks), loss=loss, **self._sums(confusion.sum(0)))
        return confusion

    def summarise(self, means: dict[str, float]) -> dict[str, float]:
        right, true, predicted = (
            [means[f"{part}_{number}"] for number in range(self.num_classes)] for part in ("right", "true", "predicted")
        )
        counted = [number for number in range(self.num_classes) if true[number] + predicted[number]]
        iou = {number: right[number] / (true[number] + predicted[number] - right[number]) for number in counted}
        dice = {number: 2 * right[number] / (true[number] + predicted[number]) for number in counted}
        self.iou_by_class = {self.names[number]: value for number, value in iou.items()}
        if self.binary:  # no object anywhere, and none predicted: nothing is wrong
            scores = {"iou": iou.get(1, 1.0), "dice": dice.get(1, 1.0)}
        else:
            scores = {"iou": sum(iou.values()) / len(iou), "dice": sum(dice.values()) / len(dice)}
        return {"loss": means["loss"], **scores, "acc": sum(right) / sum(true)}

    def on_test_epoch_end(self) -> None:
        super().on_test_epoch_end()
        self.log_dict({f"test/iou_{name}": value for name, value in self.iou_by_class.items()})
