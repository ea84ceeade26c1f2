"""Why a network said so: images beside what in them speaks for the predicted class."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from harness.drawing.figures import COLOURS
from harness.drawing.image_figures import sheet
from harness.drawing.short_names import legible
from lit_modules.evidence import Evidence

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = 3  # strips of three pictures side by side
EACH = 6  # right and wrong predictions in a run's figure
SIDE = 64  # pixels of an image at least, so that maps look smooth
LEAST_FALL = 0.1  # of log-odds; smaller effects of covering are not stretched to full brightness
TITLE = "Image, Grad-CAM and occlusion: bright is what speaks for the predicted class"

Caption = tuple[tuple[str, str], ...]


def some_of_both(probabilities: Tensor, labels: Tensor) -> Tensor:
    """Positions of right predictions, evenly spread, and of the most confident wrong ones, 2 * EACH at most."""
    confidence, predicted = probabilities.max(1)
    right = (predicted == labels).nonzero().squeeze(1)
    wrong = (predicted != labels).nonzero().squeeze(1)
    wrong = wrong[confidence[wrong].argsort(descending=True, stable=True)][:EACH]
    spread = torch.linspace(0, len(right) - 1, min(len(right), 2 * EACH - len(wrong))).long()
    return torch.cat([right[spread], wrong])


def draw_why(
    images: Tensor, found: Evidence, probabilities: Tensor, labels: Tensor, classes: Sequence[str]
) -> "Figure":
    """The images, (n, C, H, W), with their maps, and below them what was said, (n, classes), and what is true, (n,)."""
    captions: list[Caption] = []
    short, longer = legible(classes, 16), legible(classes, 20)
    shares, guesses = (part.tolist() for part in probabilities.max(1))
    for share, guess, label in zip(shares, guesses, labels.tolist(), strict=True):
        said = f"said {short[guess]}, {share:.0%}"
        if guess == label:
            captions.append(((said, "black"), ("right", "black")))
        else:
            captions.append(((said, COLOURS[1]), (f"is {longer[label]}", COLOURS[1])))
    return draw_evidence(images, found, captions)


def draw_evidence(images: Tensor, found: Evidence, captions: Sequence[Caption]) -> "Figure":
    """Strips of an image, its Grad-CAM and its occlusion map, with lines of text and colour below each strip."""
    parts = [images.float().expand(-1, 3, -1, -1), *glowing_maps(images, found)]
    times = max(1, -(-SIDE // images.shape[-1]))
    large = [part.repeat_interleave(times, 2).repeat_interleave(times, 3) for part in parts]
    gap = max(1, large[0].shape[-1] // 24)
    strips = [F.pad(part, (0, gap), value=1.0) for part in large[:-1]]
    return sheet(torch.cat([*strips, large[-1]], dim=3), COLUMNS, captions, TITLE)


def glowing_maps(images: Tensor, found: Evidence) -> tuple[Tensor, Tensor]:
    """Images, (n, C, H, W) in 0..1, with their Grad-CAM, and with their occlusion map over them, (n, 3, H, W) each."""
    falls = found.occlusion / found.occlusion.amax((1, 2), keepdim=True).clamp(min=LEAST_FALL)
    colours = images.float().expand(-1, 3, -1, -1)
    return _glowing(colours, found.grad_cam), _glowing(colours, falls)


def _glowing(images: Tensor, maps: Tensor) -> Tensor:
    """Dark grey images, (n, 3, H, W), coloured the brighter the more the maps, (n, H, W) in 0..1, say."""
    import matplotlib

    painted = torch.from_numpy(matplotlib.colormaps["inferno"](maps.numpy())[..., :3]).float().permute(0, 3, 1, 2)
    grey = 0.55 * images.mean(1, keepdim=True)  # dark, so that light backgrounds do not look like evidence
    share = 0.75 * maps[:, None]  # (n, 1, H, W)
    return (1 - share) * grey + share * painted  # (n, 3, H, W)
