"""What each column of a table was taken for, as a picture: a small histogram for each."""

from typing import TYPE_CHECKING

from datamodules.column_report import ColumnReport
from harness.drawing.figures import COLOURS, new_figure
from harness.drawing.short_names import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE = 4  # small histograms in a row
SHOWN = 40  # columns of a table that are drawn
# In inches: the figure, what a histogram has to itself with its labels, and where it is in that, from left and bottom.
WIDTH, TITLE = 8.0, 0.4
PLACE = (1.95, 1.9)
LEFT, BOTTOM, RIGHT, TOP = 0.4, 0.65, 1.85, 1.5


def draw_columns(columns: list[ColumnReport]) -> "Figure":
    """A small histogram of each column, up to `SHOWN`, with its kind, distinct values and missing share."""
    shown = columns[:SHOWN]
    rows = -(-len(shown) // WIDE)
    height = TITLE + PLACE[1] * rows
    figure, grid = new_figure(rows, WIDE, size=(WIDTH, height), squeeze=False)
    figure.set_layout_engine("none")  # placed by hand: in half the time
    for place, axes in enumerate(grid.flat):
        row, number = divmod(place, WIDE)
        left, bottom = LEFT + PLACE[0] * number, BOTTOM + PLACE[1] * (rows - 1 - row)
        axes.set_position((left / WIDTH, bottom / height, (RIGHT - LEFT) / WIDTH, (TOP - BOTTOM) / height))
        if place < len(shown):
            _draw(axes, shown[place])
        else:
            axes.axis("off")
    more = f"; the first {SHOWN} of {len(columns)}" if len(columns) > SHOWN else ""
    title = f"What each column was taken for; height: rows{more}"
    figure.suptitle(title, fontsize=10, y=1 - 0.1 / height, va="top")
    return figure


def _draw(axes: "Axes", column: ColumnReport) -> None:
    used = column.role in ("feature", "target")
    colour = {"feature": COLOURS[0], "target": COLOURS[1]}.get(column.role, "#999999")
    axes.bar(range(len(column.counts)), column.counts, width=0.9, color=colour)
    axes.set_title(shortened(column.name), fontsize=9, fontweight="bold", pad=12)
    what = column.kind if column.role == "feature" else column.role if used else "left out"
    share = f"{column.missing:.0%}" if column.missing >= 0.005 else "< 1%"
    missing = f", {share} missing" if column.missing else ""
    said = f"{shortened(what)}, {column.distinct:,} values{missing}"
    axes.text(0.5, 1.02, said, fontsize=7, ha="center", va="bottom", transform=axes.transAxes)
    axes.tick_params(labelsize=7, length=2)
    axes.locator_params(axis="y", nbins=2, integer=True)
    axes.spines[["top", "right"]].set_visible(False)
    _label(axes, column)


def _label(axes: "Axes", column: ColumnReport) -> None:
    """The ends of a histogram, or the names of the most frequent values while there is room for them."""
    if not column.labels:
        axes.set_xticks([-0.5, len(column.counts) - 0.5], [_short(column.low), _short(column.high)])
        first, last = axes.get_xticklabels()
        first.set_horizontalalignment("left")
        last.set_horizontalalignment("right")
        return
    names = [name.replace("$", r"\$") if len(name) <= 11 else f"{name[:10]}…" for name in column.labels]
    axes.set_xticks(range(len(names)), names)
    crowded = len(names) > 3 or len("  ".join(names)) > 24
    for label in axes.get_xticklabels() if crowded else []:
        label.set(rotation=40, ha="right", rotation_mode="anchor")


def _short(end: str) -> str:
    """A number with four or five digits, such as 1.449 M; a date as it is."""
    from matplotlib.ticker import EngFormatter  # here, because its import takes half a second

    from harness.drawing.ticks import LARGE

    try:
        number = float(end)
    except ValueError:
        return end
    return EngFormatter()(float(f"{number:.4g}")) if abs(number) >= LARGE else f"{number:.5g}"
