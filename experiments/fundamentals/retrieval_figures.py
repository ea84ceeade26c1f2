"""Pictures of embeddings: a map of each, recall by rank, a sheet of nearest neighbours, and TensorBoard's projector."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from harness.drawing.figures import COLOURS, new_figure, publish
from harness.drawing.projector import add_to_projector
from harness.training.run_logger import RunLogger
from lit_modules.retrieval import nearest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

ON_MAP = 2000  # points that a picture of 800 pixels shows well
NEIGHBOURS = 8
PER_KIND = 4  # queries on the sheet of each kind: random ones, and the hardest
# Ten colours that the colour-blind tell apart: Petroff 2021, "Accessible color sequences for data visualization".
PALETTE = ("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd")
MARKERS = "os^vDP<X>*"
IN_LEGEND = 20  # classes at most; the names of others stand among their points only


class Embedded(NamedTuple):
    """Images and their positions in an embedding."""

    embeddings: Tensor  # (N, D)
    labels: Tensor  # (N,)
    images: np.ndarray  # uint8, (N, H, W)


def draw_maps(embeddings: Mapping[str, Tensor], labels: Tensor, classes: Sequence[str]) -> "Figure":
    """A panel for each embedding, (N, D), by its title: as it is if D is 2, else its first two principal components."""
    width = max(6.0, 3.2 * len(embeddings))  # room for the legend
    figure, panels = new_figure(1, len(embeddings), size=(width, 4.2), squeeze=False)
    for axes, (title, embedding) in zip(panels[0], embeddings.items(), strict=True):
        points, names = _plane(embedding[:ON_MAP])
        _scatter(axes, points, labels[:ON_MAP].numpy(), classes)
        axes.set(title=title, xlabel=names[0], ylabel=names[1])
        axes.set_aspect("equal", adjustable="datalim")
    if len(classes) <= IN_LEGEND:
        columns = min(len(classes), int(11 * width / (4 + max(map(len, classes)))))  # of 11 letters an inch
        handles, names = panels[0, 0].get_legend_handles_labels()
        spaces = dict(handletextpad=0.1, columnspacing=1.0)
        figure.legend(handles, names, loc="outside lower center", ncols=columns, markerscale=1.5, **spaces)
    return figure


def marks(number: int) -> dict[str, Any]:
    """The colour and the marker of a class; the first hundred classes have marks of their own."""
    colours, markers = len(PALETTE), len(MARKERS)
    return {"color": PALETTE[number % colours], "marker": MARKERS[(number + number // colours) % markers]}


def _plane(embedding: Tensor) -> tuple[np.ndarray, tuple[str, str]]:
    from sklearn.decomposition import PCA

    if embedding.shape[1] == 2:
        return embedding.numpy(), ("dimension 1", "dimension 2")
    if embedding.shape[1] == 1:
        return F.pad(embedding, (0, 1)).numpy(), ("dimension 1", "")
    pca = PCA(2, random_state=0)
    points = pca.fit_transform(F.normalize(embedding).numpy())
    shares = pca.explained_variance_ratio_
    first, second = (f"principal component {number} ({share:.0%})" for number, share in enumerate(shares, 1))
    return points, (first, second)


def _scatter(axes: "Axes", points: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> None:
    for number, name in enumerate(classes):
        its = points[labels == number]  # (n, 2)
        if not len(its):
            continue
        its_marks = marks(number)
        size = 40 if its_marks["marker"] == "*" else 14  # of the same extent, stars have less ink
        axes.scatter(its[:, 0], its[:, 1], s=size, alpha=0.85, linewidths=0, label=name, **its_marks)
        box = dict(boxstyle="round,pad=0.15", facecolor="white", edgecolor=its_marks["color"], alpha=0.85)
        axes.annotate(name, np.median(its, axis=0), ha="center", va="center", fontsize=9, bbox=box)
    axes.grid(alpha=0.3)


def draw_recall(recalls: Mapping[str, Mapping[int, float]]) -> "Figure":
    """The CMC curve of each method: recall by the number of neighbours considered."""
    figure, axes = new_figure(size=(6, 4.2))
    for (name, curve), style, marker in zip(recalls.items(), ("-", "--", ":"), MARKERS, strict=False):
        axes.plot(list(curve), [100 * value for value in curve.values()], linestyle=style, marker=marker, label=name)
    ks = list(next(iter(recalls.values())))
    axes.set(xscale="log", xlabel="k, nearest neighbours looked at", ylabel="recall at k: queries with their class (%)")
    axes.set_xticks(ks, [str(k) for k in ks])
    axes.minorticks_off()
    axes.set_title("CMC curve: is the class among the k nearest?")
    axes.legend()
    axes.grid(alpha=0.3)
    return figure


def draw_neighbours(queries: Embedded, gallery: Embedded, classes: Sequence[str], seed: int) -> "Figure":
    """Queries in the left column, then their nearest neighbours; wrong ones have a cross and a thick frame."""
    labels, images = queries.labels[:ON_MAP], queries.images
    found = nearest(queries.embeddings[:ON_MAP], gallery.embeddings, min(NEIGHBOURS, len(gallery.labels)))  # (Q, 8)
    right = gallery.labels[found] == labels[:, None]
    hardest = right.sum(1).argsort(stable=True)[:PER_KIND].tolist()
    drawn = np.random.default_rng(seed).permutation(len(found))[:PER_KIND].tolist()
    chosen = drawn + hardest
    figure, grid = new_figure(len(chosen), 1 + found.shape[1], size=(8, 1.08 * len(chosen) + 0.3), squeeze=False)
    for row, query in zip(grid, chosen, strict=True):
        _show(row[0], images[query], classes[int(labels[query])], "black", 1.0)
        for axes, place, fits in zip(row[1:], found[query], right[query], strict=True):
            name, colour = classes[int(gallery.labels[place])], COLOURS[0] if fits else COLOURS[1]
            _show(axes, gallery.images[place], f"{'✓' if fits else '✗'} {name}", colour, 1.0 if fits else 3.5)
    grid[0][0].set_title("query", fontsize=9)
    grid[0][1].set_title("nearest first", fontsize=9)
    for first, text in ((0, "at random"), (len(drawn), "the hardest")):
        grid[first][0].set_ylabel(text, fontsize=9)
    return figure


def _show(axes: "Axes", image: np.ndarray, name: str, colour: str, width: float) -> None:
    axes.imshow(image, cmap="gray_r", vmin=0, vmax=255)
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel(name, fontsize=9, color=colour, labelpad=2)
    axes.spines[:].set(color=colour, linewidth=width)


def write_projector(run: Path, test: Embedded, classes: Sequence[str], figures: Mapping[str, "Figure"]) -> None:
    """Writes the figures, also to TensorBoard, and shows the embedded test images in its projector."""
    logger = RunLogger(run, name="", version="")
    publish(figures, run / "figures", logger.experiment)
    pixels = torch.from_numpy(test.images).unsqueeze(1) / 255  # (N, 1, H, W)
    add_to_projector(logger.experiment, test.embeddings, [classes[label] for label in test.labels], pixels, "test")
    logger.finalize("success")
