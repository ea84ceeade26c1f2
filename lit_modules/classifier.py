"""Classification by any network: cross-entropy or another loss, accuracy, and the usual penalties."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from basics.choose import choose
from basics.errors import InputError
from lit_modules import mix
from lit_modules.class_losses import LOSSES
from lit_modules.class_stages import ClassStages
from lit_modules.heads import head_of
from lit_modules.means import precise, total, widest
from lit_modules.nets import build_net
from lit_modules.normalise import Normalise
from lit_modules.optimizers import OptimizerOptions
from lit_modules.stages import Batch, Learnt
from lit_modules.views import ViewOptions, check_views, mean_over_views


@dataclass(frozen=True, kw_only=True)
class ClassifierOptions(ViewOptions, OptimizerOptions):
    """What a classifier of images learns by.

    Args:
        loss: ce, bce, mse or focal: cross-entropy of the softmax, a sigmoid for each class, squared error of the
            softmax, or cross-entropy that counts hard images most (lit_modules/class_losses.py).
        l1: factor of the L1 penalty: of the sum of absolute weights, not of biases or scales.
        label_smoothing: share of each target that is spread over all classes (Szegedy et al. 2016); in training only.
        mixup: alpha of mixup: each training image becomes a weighted mean of itself and another, and its label the same
            mean of both labels; the higher alpha is, the more alike are the weights; 0 is off.
        cutmix: alpha of CutMix: a rectangle of each training image is another's, and the label has its share of the
            area; the higher alpha is, the nearer to a half; 0 is off. With both, each batch is mixed by one of them at
            random.
        backbone_lr: learning rate of all but the head, which has `lr`; null: the same.
        freeze_epochs: epochs at the start in which only the head learns.
        metrics: further metrics of validation and test, such as macro_f1,top5_acc (lit_modules/metrics).

    Raises:
        InputError: a number is out of its range.
    """

    loss: str = "ce"
    l1: float = 0.0
    label_smoothing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    backbone_lr: float | None = None
    freeze_epochs: int = 0
    metrics: str = ""

    def __post_init__(self) -> None:
        choose("loss", self.loss, self.losses)
        if not 0 <= self.label_smoothing <= 1:
            raise InputError(f"label_smoothing {self.label_smoothing}: must be from 0 to 1")
        if self.lr_parts and self.backbone_lr is not None:
            raise InputError(
                f"lr_parts {self.lr_parts}, backbone_lr {self.backbone_lr}: both divide the network; use one"
            )
        if self.layer_decay != 1 and self.backbone_lr is not None:
            raise InputError(f"layer_decay {self.layer_decay}: takes the place of backbone_lr; set that to null")
        for name in ("l1", "mixup", "cutmix", "freeze_epochs"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} {getattr(self, name)}: must not be negative")
        for name in ("mixup", "cutmix"):
            if 0 < getattr(self, name) < mix.LEAST:
                raise InputError(f"{name} {getattr(self, name)}: must be 0, for off, or at least {mix.LEAST}")

    @property
    def losses(self) -> Mapping[str, Any]:
        """Those that there are, by name; a script may offer others."""
        return LOSSES


class Classifier(ClassStages):
    """Trains a network to name the class of an image. All arguments are plain data, kept in each checkpoint.

    The input is normalised here, not in the data: a checkpoint holds all it takes to classify an image.
    Logs `loss` and `acc` of each stage, exact means over its samples, and of more than ten classes `top5_acc` of
    validation and test. `train/loss` includes label smoothing and the weights of classes, and no loss includes the L1
    penalty. For a mixed image `train/acc` counts both labels by their shares.

    Args:
        net: a name from `lit_modules.nets`.
        input_shape: (C, H, W).
        mean: of the training pixels, per channel; subtracted from the input.
        std: of the training pixels, per channel; divides the input.
        net_args: options of the network.
        classes: their names, in the order of the labels; kept for predictions.
        class_weights: by which factor a training image of each class counts in the loss, (num_classes,); None: all
            count alike.
        options: those of `ClassifierOptions`.

    Raises:
        InputError: a name is unknown or a number out of its range.
    """

    options_type = ClassifierOptions

    def __init__(
        self,
        net: str,
        input_shape: Sequence[int],
        num_classes: int,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        net_args: dict[str, Any] | None = None,
        classes: Sequence[str] | None = None,
        class_weights: Sequence[float] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        input_shape, mean, std = tuple(input_shape), tuple(mean), tuple(std)
        chosen = ClassifierOptions(**options)
        self.save_hyperparameters(logger=False)
        self.hparams.update(asdict(chosen))  # those that have their defaults too
        self.net = build_net(net, input_shape, num_classes, **(net_args or {}))
        self.normalise = Normalise(mean, std)
        self.example_input_array = torch.zeros(2, *input_shape)
        self.loss, self.label_smoothing = chosen.loss, chosen.label_smoothing
        self.l1, self.test_flip, self.test_shift = chosen.l1, chosen.test_flip, chosen.test_shift
        check_views(chosen, input_shape)
        mixes = ((mix.mixup, chosen.mixup), (mix.cutmix, chosen.cutmix))
        self.mixes = [(function, alpha) for function, alpha in mixes if alpha]
        self.weights = [p for p in self.net.parameters() if p.ndim > 1] if chosen.l1 else []
        self.frozen = False  # whether only the head learns now
        self._prepare_classes(num_classes, chosen.metrics, class_weights)
        self.configure_optimizers()  # refuses a wrong option now
        if chosen.freeze_epochs:
            head_of(self.net)  # the same

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (B, num_classes), of images with values in 0..1, (B, C, H, W)."""
        images = self.normalise(images)
        if self.training:
            return precise(self.net(images))
        return mean_over_views(self.net, images, self.test_flip, self.test_shift)

    def predicted(self, outputs: Tensor) -> Tensor:
        """Probabilities, (B, num_classes); with bce each on its own, so that their sum need not be 1."""
        return outputs.sigmoid() if self.loss == "bce" else outputs.softmax(1)

    def draw(self, batch: Batch) -> tuple[Tensor, ...]:
        """Training images and labels; after mixup or CutMix, also the share of each image's own label."""
        if not self.mixes:
            return batch
        images, labels = batch
        mixed, alpha = self.mixes[int(torch.randint(len(self.mixes), ()))]
        images, share = mixed(images, alpha)
        return images, labels, torch.full((), share, dtype=widest(images.device), device=images.device)

    def learn(self, images: Tensor, labels: Tensor, share: Tensor | None = None) -> Learnt:
        logits = self(images)
        loss, right = self._loss(logits, labels), num_correct(logits, labels)
        if share is not None:
            others = mix.partners(labels)
            loss = _weighted(share, loss, self._loss(logits, others))
            right = _weighted(share, right, num_correct(logits, others))
        sums = {"loss": total(loss, labels), "acc": right}
        return (loss + self.l1 * sum(weight.abs().sum() for weight in self.weights) if self.l1 else loss), sums

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        loss = partial(LOSSES[self.loss], logits, labels, label_smoothing=self.label_smoothing)
        return loss() if self.class_weights is None else self.weighted(loss(reduction="none"), labels)

    def _evaluate(self, stage: str, batch: Batch) -> Tensor:
        images, labels = batch
        logits = self(images)
        # The sum, unlike the mean, is right for an empty batch, which a rank may get at the end.
        loss = LOSSES[self.loss](logits, labels, reduction="sum")
        self._count(stage, logits, labels, loss=loss, acc=num_correct(logits, labels))
        return logits

    def on_train_start(self) -> None:
        if self.hparams["freeze_epochs"]:  # a network may have weights that never learn
            self._frozen_at_first = [parameter for parameter in self._backbone() if parameter.requires_grad]
        self._freeze()  # a resume within an epoch starts training without the start of an epoch

    def on_train_epoch_start(self) -> None:
        self._freeze()

    def _freeze(self) -> None:
        if not self.hparams["freeze_epochs"]:
            return
        self.frozen = self.current_epoch < self.hparams["freeze_epochs"]
        self.net.train(not self.frozen)  # freezes BatchNorm's statistics too
        for layer in self.net.modules():
            if getattr(layer, "fits_first_batch", False):
                layer.train()
        for parameter in self._frozen_at_first:
            # DistributedDataParallel waits for all gradients, so they are computed there, and dropped below.
            parameter.requires_grad_(not self.frozen or self.trainer.world_size > 1)

    def on_train_end(self) -> None:
        if self.frozen:  # to the end
            self.frozen = False
            for parameter in self._frozen_at_first:
                parameter.requires_grad_()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        if self.frozen:
            for parameter in self._backbone():
                parameter.grad = None  # so that the optimizer skips it, its momentum included

    def _backbone(self) -> list[Tensor]:
        head = set(head_of(self.net).parameters())
        return [parameter for parameter in self.net.parameters() if parameter not in head]

    def _param_groups(self) -> list[Any]:
        if self.hparams["backbone_lr"] is None:
            return super()._param_groups()
        head = list(head_of(self.net).parameters())
        return [{"params": self._backbone(), "lr": self.hparams["backbone_lr"]}, {"params": head}]


def _weighted(share: Tensor, own: Tensor, others: Tensor) -> Tensor:
    """The mean of two numbers, the first with the weight `share`, which has the widest type."""
    return share.to(own.dtype) * own + (1 - share).to(own.dtype) * others


def num_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """How many rows of the logits, (B, C), are largest at their label, (B,)."""
    return (logits.argmax(1) == labels).sum(dtype=widest(logits.device))
