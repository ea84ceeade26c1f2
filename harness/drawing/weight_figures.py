"""How weights and gradients are distributed, layer by layer."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor, nn

from harness.drawing.figures import COLOURS, new_figure
from harness.drawing.layer_names import parameter_names
from harness.drawing.short_names import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LAYERS, BINS = 20, 80


def draw_histograms(model: nn.Module, gradients: Mapping[str, Tensor]) -> "Figure":
    """A hill for each layer, from the input at the top to the output: its weights, and the sizes of its gradients."""
    layers = {name: p for name, p in model.named_parameters() if p.ndim > 1}
    if len(layers) > LAYERS:
        every = list(layers)
        layers = {every[place]: layers[every[place]] for place in np.linspace(0, len(every) - 1, LAYERS).astype(int)}
    weights = {name: _flat(p.detach()) for name, p in layers.items()}
    sizes = {name: _magnitudes(_flat(gradients[name])) for name in layers if name in gradients}
    figure, panels = new_figure(1, 2, size=(9, 1.6 + 0.42 * len(layers)), sharey=True)
    _draw_hills(panels[0], weights, COLOURS[0])
    panels[0].set(xlabel="weight", title="weights of the tested epoch")
    names = parameter_names(model)
    panels[0].set_yticks(range(len(layers)), [shortened(names[name], 34) for name in layers], fontsize=8)
    panels[0].set_ylim(len(layers) - 0.8, -1.05)
    if any(map(len, sizes.values())):
        _draw_hills(panels[1], {name: sizes.get(name, np.zeros(0)) for name in layers}, COLOURS[1])
    panels[1].set(
        xlabel="log10 of the gradient's absolute value, where not 0", title="gradients of the last epoch's last step"
    )
    return figure


def _flat(tensor: Tensor) -> np.ndarray:
    return tensor.float().flatten().cpu().numpy()


def _magnitudes(gradient: np.ndarray) -> np.ndarray:
    return np.log10(abs(gradient[gradient != 0]))  # those of dead units are 0


def _draw_hills(axes: "Axes", values: Mapping[str, np.ndarray], colour: str) -> None:
    """Each hill stands on its own line; all have the same height, and nearly all values are within the axes."""
    ends = [np.quantile(numbers, (0.002, 0.998)) for numbers in values.values() if len(numbers)]
    edges = np.linspace(min(low for low, _ in ends), max(high for _, high in ends), BINS + 1)
    for line, numbers in enumerate(values.values()):
        counts, _ = np.histogram(numbers, edges)
        heights = 0.95 * counts / max(counts.max(), 1)
        axes.fill_between((edges[:-1] + edges[1:]) / 2, line, line - heights, color=colour, alpha=0.6, linewidth=0)
        axes.axhline(line, color="0.7", linewidth=0.5)
    axes.grid(axis="x", alpha=0.3)
