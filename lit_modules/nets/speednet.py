"""SpeedNet: a small convolutional network to reach a good accuracy on CIFAR-10 in little time.

The plan is that of Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU": a frozen first layer that
whitens 2x2 patches, then three stages of two 3x3 convolutions with an early pooling, GELU, and a linear layer on
the maximum over pixels. Whitening comes from Page 2019, "How to train your ResNet 8: bag of tricks".

Differences: the whitening is fitted to the first batch of training images that passes, so that nothing but the
images is needed; the widths suit a CPU; the last pooling takes any size of image.
"""

from collections.abc import Sequence

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor, nn

from basics.errors import InputError
from lit_modules.means import widest

__all__ = ["SpeedNet"]

WHITENING_EPS = 0.02  # variances below are mostly noise, not to be blown up; for inputs of unit variance
NORM_MOMENTUM = 0.1  # what a batch adds to BatchNorm's running statistics, as a share; torch's default


class Whitening(nn.Module):
    """Projects each 2x2 patch on the eigenvectors of the patches' covariance, to unit variance, and on their negatives.

    The weights follow from the first batch in training and then stay; the bias learns, if there is one.
    """

    fits_first_batch = True  # so that it is left in training mode while only the head learns
    weight: Tensor

    def __init__(self, channels: int, eps: float = WHITENING_EPS, bias: bool = True) -> None:
        super().__init__()
        if not eps > 0:
            raise InputError(f"net_args whitening_eps {eps}: must be above 0")
        self.eps = eps
        self.outputs = 2 * 4 * channels
        self.register_buffer("weight", torch.zeros(self.outputs, channels, 2, 2))
        self.bias = nn.Parameter(torch.zeros(self.outputs)) if bias else None
        self.fitted = False
        self.register_load_state_dict_post_hook(Whitening._reloaded)

    def _reloaded(self, *unused: object) -> None:
        self.fitted = False  # the weights tell, which may be those of before the first batch

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Sets the weights from images, (B, C, H, W), of all processes together, if these are finite."""
        patches = F.unfold(x.to(widest(x.device)), kernel_size=2).transpose(1, 2).flatten(0, 1)  # (B * patches, 4C)
        moments = torch.cat([patches.T @ patches / len(patches), patches.mean(0)[None]])  # (4C + 1, 4C)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(moments)
            moments /= torch.distributed.get_world_size()
        moments = moments.cpu()  # eigenvectors of a few numbers, for which a GPU would load a library of its own
        if not moments.isfinite().all():
            return  # the loss will not be either, and another batch comes if the run goes on
        mean = moments[-1]
        variances, vectors = torch.linalg.eigh(moments[:-1] - torch.outer(mean, mean))  # columns
        whiten = (vectors / (variances + self.eps).sqrt()).T  # (4C, 4C)
        self.weight.copy_(torch.cat([whiten, -whiten]).view_as(self.weight))
        self.fitted = True

    def forward(self, x: Tensor) -> Tensor:
        if self.training and not self.fitted:
            self.fitted = bool(self.weight.any())  # from a checkpoint
            if not self.fitted:
                self.fit(x)
        return F.conv2d(x, self.weight, self.bias)  # (B, C, H, W) -> (B, 8C, H - 1, W - 1)


class Norm(nn.BatchNorm2d):
    """BatchNorm with a learned shift and a scale that stays 1: the next convolution makes up for it.

    CUDA has no gradient for a shift without a scale. The scale never changes, so no checkpoint has it, and it is not
    called `weight`, which has to be a parameter or None where `--sync_batchnorm` replaces this layer.
    """

    scale: Tensor
    num_batches_tracked: Tensor  # None only in layers without statistics
    momentum: float  # None only in those that average over all batches

    def __init__(self, channels: int, momentum: float = NORM_MOMENTUM) -> None:
        if not 0 < momentum <= 1:
            raise InputError(f"net_args norm_momentum {momentum}: must be above 0, and at most 1")
        super().__init__(channels, momentum=momentum)
        self.register_parameter("weight", None)
        self.register_buffer("scale", torch.ones(channels), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.num_batches_tracked.add_(1)
        statistics = self.running_mean, self.running_var
        return F.batch_norm(x, *statistics, self.scale, self.bias, self.training, self.momentum, self.eps)


def stage(channels: int, first: int, second: int, momentum: float) -> nn.Sequential:
    """Two convolutions; the pooling comes early, so that only the first sees the full size."""
    return nn.Sequential(
        nn.Conv2d(channels, first, kernel_size=3, padding=1, bias=False),
        nn.MaxPool2d(2),
        Norm(first, momentum),
        nn.GELU(),
        nn.Conv2d(first, second, kernel_size=3, padding=1, bias=False),
        Norm(second, momentum),
        nn.GELU(),
    )


class Residual(nn.Module):
    """A convolution that adds to its input (He et al. 2015)."""

    def __init__(self, channels: int, momentum: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel_size=3, padding=1, bias=False)
        self.norm = Norm(channels, momentum)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.gelu(self.norm(self.conv(x)))  # (B, C, H, W)


def begin_as_identity(module: nn.Module) -> None:
    """Lets a convolution pass on its input in as many of its outputs as there are inputs. For `net.apply`."""
    if isinstance(module, nn.Conv2d):
        inputs = min(module.weight.shape[:2])
        nn.init.dirac_(module.weight.data[:inputs])


class SpeedNet(nn.Module):
    """Whitening, three stages, the maximum over pixels, one linear layer.

    Args:
        widths: maps of both convolutions of each stage.
        residual: a third convolution in the last stage, where there are few pixels and it costs little.
        norm_momentum: of BatchNorm's running statistics; the fewer steps a run has, the more should one count.
        whitening_eps: is added to the variances of the patches. Those of images that were JPEG once are noise below
            0.02; of CIFAR-10 as it came, half of the twelve are below, and are no noise.
        whitening_bias: lets a shift of the whitened patches learn. Without it, the backward pass ends before the
            largest images, which saves time.
    """

    head = "classifier"

    def __init__(
        self,
        input_shape: Sequence[int],
        num_outputs: int,
        widths: Sequence[tuple[int, int]] = ((64, 64), (128, 256), (256, 256)),
        residual: bool = False,
        norm_momentum: float = NORM_MOMENTUM,
        whitening_eps: float = WHITENING_EPS,
        whitening_bias: bool = True,
    ) -> None:
        super().__init__()
        self.whitening = Whitening(input_shape[0], whitening_eps, whitening_bias)
        self.stages = nn.Sequential()
        channels = self.whitening.outputs
        for first, second in widths:
            self.stages.append(stage(channels, first, second, norm_momentum))
            channels = second
        if residual:
            self.stages.append(Residual(channels, norm_momentum))
        self.classifier = nn.Linear(channels, num_outputs, bias=False)
        self.apply(begin_as_identity)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.whitening(x))  # (B, 3, 32, 32) -> (B, 24, 31, 31)
        x = self.stages(x)  # -> 15 -> 7 -> (B, channels, 3, 3)
        x = x.amax(dim=(2, 3))  # (B, channels)
        # With the scale, a learning rate that suits the filters suits the output layer too.
        return self.classifier(x) / self.classifier.in_features**0.5  # (B, num_outputs)
