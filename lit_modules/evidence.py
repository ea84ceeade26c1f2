"""Which places of an image speak for a class: Grad-CAM, and occlusion as a check on it.

Selvaraju et al. 2017, "Grad-CAM: Visual explanations from deep networks via gradient-based localization": the maps of
the last convolutions are added up, each weighted by the gradient of the class's logit, and what is below 0 is cut.
Draelos and Carin 2020, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural networks":
each place of a map is weighted by its own gradient. Grad-CAM takes the map's mean gradient, which is the same where
networks average their last maps; elsewhere it also lights up places whose own gradient speaks against the class.
Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks": a grey square covers one place after
another, and the class becomes less probable where the evidence is.

Differences from the papers: Grad-CAM takes the very last maps there. On small images these can be a single pixel, so
the last ones of at least `LEAST_SIDE` pixels are taken here, or the largest if all are smaller. Occlusion is judged by
the probability there, and here by the logarithm of its odds, since the probability of a sure network hardly moves.
"""

from contextlib import ExitStack
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basics.torch_internals import Convolution
from lit_modules.classifier import Classifier

LEAST_SIDE = 14  # pixels of a feature map, as in the paper's VGG-16; a coarser one does not say where
PLACES = 6  # of the grey square along each side of the image
COVERED = 4  # the square's side is this part of the image's, so that neighbouring squares overlap


class Evidence(NamedTuple):
    """Maps of the same size as the images, (B, H, W), float32, at least 0."""

    grad_cam: Tensor  # from 0 to 1, relative to the image's largest value
    occlusion: Tensor  # by how much the class's log-odds fall where the image is covered


def evidence(model: Classifier, images: Tensor, classes: Tensor) -> Evidence | None:
    """What in the images, (B, C, H, W) with values in 0..1, speaks for the classes, (B,), one for each.

    The model must be in evaluation mode. Its gradients, its statistics and torch's random numbers stay as they are.
    None if the network makes no feature maps by convolutions.

    Raises:
        RuntimeError: the model is in training mode.
    """
    if model.training:
        raise RuntimeError("evidence of a model in training mode; call its eval() first")
    # Compiled code would not call the hooks; tensors made in inference mode cannot take part in gradients.
    with torch.inference_mode(False), torch.enable_grad(), torch.compiler.set_stance("force_eager"):
        images, classes = images.detach().clone().to(next(model.parameters()).dtype), classes.to(images.device).clone()
        maps = grad_cam(model.net, model.normalise(images), classes)
        if maps is not None and model.test_flip:  # the logits are means of both; a map is too coarse for test_shift
            flipped = grad_cam(model.net, model.normalise(images.flip(-1)), classes)
            maps = maps if flipped is None else (maps + flipped.flip(-1)) / 2
        return None if maps is None else Evidence(_relative(maps), occlusion(model, images, classes))


def makes_maps(model: Classifier) -> bool:
    """Whether the network makes feature maps by convolutions, without which there is no Grad-CAM."""
    nothing = torch.zeros(1, *model.hparams["input_shape"], device=model.device)
    return evidence(model, nothing, torch.zeros(1, dtype=torch.long)) is not None


def grad_cam(net: nn.Module, x: Tensor, classes: Tensor) -> Tensor | None:
    """Grad-CAM of a network's input, (B, C, H, W), for the classes, (B,): (B, H, W), float32, at least 0.

    None if no layer with or after a convolution makes maps that the logits depend on.
    """
    x = x.detach().requires_grad_()  # so that maps have gradients where all weights are frozen
    made = _feature_maps(net, x)
    for maps in reversed(made.fitting):
        score = made.logits.float().gather(1, classes[:, None]).sum()
        (gradient,) = torch.autograd.grad(score, maps, allow_unused=True, retain_graph=True)
        if gradient is not None:
            cam = (gradient.float() * maps.detach().float()).sum(1, keepdim=True).relu()  # (B, 1, h, w)
            return F.interpolate(cam, size=x.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    return None


class _Made(NamedTuple):
    logits: Tensor  # (B, classes)
    maps: list[Tensor]  # (B, K, h, w), in the order in which layers made them

    @property
    def fitting(self) -> list[Tensor]:
        """Those of at least `LEAST_SIDE` pixels, or if there are none, the largest; a single pixel is no map."""
        sides = [min(maps.shape[-2:]) for maps in self.maps]
        least = max(2, min(LEAST_SIDE, max(sides, default=0)))
        return [maps for maps, side in zip(self.maps, sides, strict=True) if side >= least]


def _feature_maps(net: nn.Module, x: Tensor) -> _Made:
    """The logits, and what layers make from the first convolution on.

    Blocks are layers too: the sum at the end of a residual block is what the block makes, and no layer in it.
    """
    made: list[Tensor] = []

    def keep(layer: nn.Module, given: tuple, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and (made or isinstance(layer, Convolution)):
            made.append(output)

    with ExitStack() as hooks:
        for layer in net.modules():
            if layer is not net:
                hooks.callback(layer.register_forward_hook(keep).remove)
        return _Made(net(x), made)


def _relative(maps: Tensor) -> Tensor:
    """Each map divided by its largest value; a map of zeros stays one."""
    return maps / maps.amax((1, 2), keepdim=True).clamp(min=torch.finfo(maps.dtype).tiny)


@torch.no_grad()
def occlusion(model: Classifier, images: Tensor, classes: Tensor) -> Tensor:
    """By how much covering each pixel lowers the log-odds of the classes, (B,), at least 0: (B, H, W), float32.

    The square has the mean colour of the training images. A pixel gets the mean over the squares that cover it.
    """
    height, width = images.shape[-2:]
    size = max(1, height // COVERED), max(1, width // COVERED)
    falls, times = images.new_zeros(len(images), height, width, dtype=torch.float32), images.new_zeros(height, width)
    whole, colour = _log_odds(model, images, classes), model.normalise.mean.to(images.dtype)  # (C, 1, 1)
    if len(colour) > images.shape[1]:  # grey images, for a network whose training had colours
        colour = colour.mean(0, keepdim=True)
    for top in _starts(height, size[0]):
        for left in _starts(width, size[1]):
            place = slice(top, top + size[0]), slice(left, left + size[1])
            covered = images.clone()
            covered[..., place[0], place[1]] = colour
            fall = (whole - _log_odds(model, covered, classes)).clamp(min=0)  # (B,)
            falls[:, place[0], place[1]] += fall[:, None, None]
            times[place] += 1
    return falls / times.clamp(min=1)


def _log_odds(model: Classifier, images: Tensor, classes: Tensor) -> Tensor:
    """log p/(1-p) of the classes, (B,), float32; with bce that is the logit."""
    logits, places = model(images).float(), classes[:, None]
    own = logits.gather(1, places)[:, 0]
    return own if model.loss == "bce" else own - logits.scatter(1, places, -torch.inf).logsumexp(1)


def _starts(side: int, size: int) -> list[int]:
    """Where the squares begin, evenly spread from one edge to the other, so that they leave nothing out."""
    return sorted({round(place * (side - size) / (PLACES - 1)) for place in range(PLACES)})
