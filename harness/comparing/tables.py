"""Tables of runs as text that fits a terminal, csv, markdown, or json."""

import csv
import io
import json
import re
import shutil
import textwrap
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from basics.amounts import amount
from harness.comparing.comparison import Group, Table, configuration, rounded
from harness.comparing.run_files import Run

NARROWEST, USUAL = 80, 120  # columns of a table: at least, and where there is no terminal
SEEDS = 12  # characters of a list of seeds
NAMES = 24  # characters of a list of names
LEAST_FLAGS = 24  # characters of flags in a line, even if figures leave less


def write_tables(tables: Sequence[Table], kind: str) -> str:
    """All tables as text, csv or markdown, or as json with the paths of the runs."""
    if kind == "json":
        return json.dumps([_plain(table, group) for table in tables for group in table.groups], indent=2)
    if kind == "csv":
        return _write_csv(tables)
    write = _write_markdown if kind == "markdown" else _write_text
    return "\n\n".join(write(table, titled=kind == "table" or len(tables) > 1) for table in tables)


def terminal_width() -> int:
    """The columns that a table may have: those of the terminal, or the usual number for a file."""
    return max(NARROWEST, shutil.get_terminal_size((USUAL, 0)).columns)


def _title(table: Table) -> str:
    count = sum(len(group.runs) for group in table.groups)
    order = f"best {table.by} first" if table.by else "in no order of merit"
    return f"{table.kind.title}: {amount(count, 'run')}, {order}"


def _write_text(table: Table, titled: bool) -> str:
    width = terminal_width()
    text = _aligned(_rows(table, table.columns), table)
    if _width(text) > width:
        text = _narrow(table, width)
    return f"{_title(table)}\n\n{text}"


def _narrow(table: Table, width: int) -> str:
    """What follows from the net once for each net, then heads on several lines, then rows on several lines."""
    columns = [name for name in table.columns if name not in table.of_net]
    head, *rows = _rows(table, columns)
    tries = [_aligned([head, *rows], table), _aligned([*_stacked(head), *rows], table)]
    wrapped = align(_wrapped_rows(table, columns, width), left=1)
    return next((text for text in tries if _width(text) <= width), wrapped) + _of_nets(table, width)


def _width(text: str) -> int:
    return max(map(len, text.splitlines()))


def _aligned(rows: Sequence[Sequence[str]], table: Table) -> str:
    figures = len(table.metrics) + 2  # with the number of runs and their seeds
    return align(rows, left=len(rows[0]) - figures)


def _stacked(heads: Sequence[str]) -> list[list[str]]:
    """The heads of columns on several lines, such as "batch_" above "size"."""
    parts = [re.findall(r"[^_/]+[_/]?|[_/]", head) for head in heads]
    lines = max(map(len, parts))
    return [list(line) for line in zip(*([""] * (lines - len(its)) + its for its in parts), strict=True)]


def _heads(table: Table, columns: Sequence[str]) -> list[str]:
    return ["name"] * any(group.names for group in table.groups) + [*columns]


def _rows(table: Table, columns: Sequence[str]) -> list[list[str]]:
    heads = _heads(table, columns)
    cells = [_name_cell(table) if head == "name" else _cells(table, head) for head in heads]
    rows = [[*of, *_figures(table, group)] for *of, group in zip(*cells, table.groups, strict=True)]
    return [[*heads, "n", "seeds", *table.metrics], *rows]


def _name_cell(table: Table) -> list[str]:
    return [textwrap.shorten(", ".join(group.names) or "-", NAMES, placeholder=" ...") for group in table.groups]


def _cells(table: Table, name: str) -> list[str]:
    """The groups' values of a flag; numbers have few digits if these tell them apart."""
    exact = [group.flags.get(name, "-") for group in table.groups]
    short = [rounded(text) for text in exact]
    return short if len(set(short)) == len(set(exact)) else exact


def _of_nets(table: Table, width: int) -> str:
    """For each net a paragraph of those flags that follow from it; empty if none do."""
    flags = {group.flags.get("net", "-"): group.flags for group in table.groups}
    if not table.of_net:
        return ""
    lines = []
    for net, its in flags.items():
        text = " ".join(f"{name}={rounded(its[name])}" for name in table.of_net if name in its)
        lines += textwrap.wrap(text, width, initial_indent=f"{net}: ", subsequent_indent="    ", break_on_hyphens=False)
    return "\n\n" + "\n".join(lines)


def _figures(table: Table, group: Group) -> list[str]:
    figures = [format_mean(metric, group.mean(metric), group.std(metric)) for metric in table.metrics]
    return [str(len(group.runs)), textwrap.shorten(seeds_of(group.runs), SEEDS, placeholder=" ..."), *figures]


def _wrapped_rows(table: Table, columns: Sequence[str], width: int) -> list[list[str]]:
    """Rows with name and flags of a group in one column, on as many lines as they need."""
    figures = [["n", "seeds", *table.metrics], *(_figures(table, group) for group in table.groups)]
    values = {name: _cells(table, name) for name in columns}
    texts = []
    for place, group in enumerate(table.groups):
        shown = [f"{name}={values[name][place]}" for name in columns if name in group.flags]
        texts.append(" ".join([", ".join(group.names), *shown]).strip())
    return before_figures(texts, figures, width)


def before_figures(texts: Sequence[str], figures: Sequence[Sequence[str]], width: int) -> list[list[str]]:
    """The rows of figures, of which the first is the head, with a text each, as wrapped lines, in a column before."""
    room = width - 2 - max(map(len, align(figures).splitlines()))
    rows = [["flags", *figures[0]]]
    for text, its in zip(texts, figures[1:], strict=True):
        lines = textwrap.wrap(text, max(LEAST_FLAGS, room), break_on_hyphens=False) or [""]
        further = [[""] * len(its)] * (len(lines) - 1)
        rows += [[line, *cells] for line, cells in zip(lines, [its, *further], strict=True)]
    return rows


def _write_markdown(table: Table, titled: bool) -> str:
    rows = [[cell.replace("|", "\\|") for cell in row] for row in _rows(table, table.columns)]
    rows.insert(1, ["---"] * len(_heads(table, table.columns)) + ["---:"] * (2 + len(table.metrics)))
    text = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{_title(table)}\n\n{text}" if titled else text


def align(rows: Sequence[Sequence[str]], left: int = 0) -> str:
    """Lines of columns that are as wide as necessary, the first `left` ones left-aligned, the others right-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = ["<"] * left + [">"] * (len(widths) - left)
    lines = [
        "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(row, sides, widths, strict=True)) for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def _plain(table: Table, group: Group) -> dict[str, Any]:
    figures = {metric: {"mean": group.mean(metric), "std": group.std(metric)} for metric in table.metrics}
    flags = {name: value for name, value in configuration(group.runs[0]).items() if name in group.flags}
    return {
        "script": table.kind.script,
        "data": table.kind.data,
        "ordered_by": table.by,
        "names": group.names,
        "flags": flags,
        "n": len(group.runs),
        "seeds": seeds_of(group.runs),
        **figures,
        "runs": [str(run.path) for run in group.runs],
    }


def _write_csv(tables: Sequence[Table]) -> str:
    """One table for all; its cells are empty where a column belongs to other tables."""
    flags = list(dict.fromkeys(name for table in tables for name in table.columns))
    metrics = list(dict.fromkeys(metric for table in tables for metric in table.metrics))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    figures = [name for metric in metrics for name in (metric, f"{metric} std")]
    writer.writerow(["script", "data", "ordered by", "name", *flags, "n", "seeds", *figures])
    for table in tables:
        for group in table.groups:
            values = [value for metric in metrics for value in (group.mean(metric), group.std(metric))]
            cells = [group.flags.get(name) for name in flags]
            kind = [table.kind.script, table.kind.data, table.by, ", ".join(group.names)]
            writer.writerow([*kind, *cells, len(group.runs), seeds_of(group.runs), *values])
    return text.getvalue().rstrip("\n")


def seeds_of(runs: Sequence[Run]) -> str:
    """The seeds, such as 0-4 9."""
    seeds = sorted(run.seed for run in runs if isinstance(run.seed, int))
    parts: list[str] = []
    for _, its in groupby(enumerate(seeds), key=lambda pair: pair[1] - pair[0]):
        row = [seed for _, seed in its]
        parts += [f"{row[0]}-{row[-1]}"] if len(row) > 2 else map(str, row)
    return " ".join(parts)


def format_mean(metric: str, mean: float | None, std: float | None = None) -> str:
    """Accuracies in percent, such as 98.89 ± 0.12 %; other figures with four digits."""
    if mean is None:
        return "-"
    percent = metric.endswith("acc")
    scale = 100 if percent else 1
    digits = 2 if percent else 4 if abs(mean) < 100 else 1 if abs(mean) < 10_000 else 0
    if metric == "seconds":
        digits = 1 if mean < 100 else 0
    form = f",.{digits}f" if percent or abs(mean) >= 5e-5 or not mean else ".4g"  # 0.0000 would say nothing
    text = f"{scale * mean:{form}}" + (f" ± {scale * std:{form}}" if std is not None else "")
    return f"{text} %" if percent else text
