"""Runs side by side: a table for each script and its data, best configuration first, and validation curves.

    python experiments/compare.py runs                                   all runs
    python experiments/compare.py runs/mnist --by val/loss               those of one script, by another metric
    python experiments/compare.py runs/mnist runs/cifar10 --format csv --output runs.csv
    python experiments/compare.py docs/results --results                 a page with each run's command and figures

Runs that differ only in the seed share a line with their number, mean and standard deviation. The flags in which lines
differ are the columns. Lines are ordered by the validation metric that chose the epochs, never by a test figure, which
is only shown. Runs of the embedded sample have a table of their own. Runs that are still going, can be resumed or are
broken are listed at the end. The figure, compare.png in the first directory, shows the mean curves of the best
configurations, with a band of one standard deviation over the seeds.

Only metrics.json, config.yaml and event files are read: 200 runs with their curves take 2 s and 91 MB, on two busy
cores of an AMD EPYC.
"""

from pathlib import Path
from typing import Literal

from basics.errors import InputError
from basics.files import check_free
from harness.command_line.cli import cli
from harness.comparing.comparison import Group
from harness.comparing.receipts import write_page
from harness.comparing.report import compare, write_out
from harness.comparing.run_files import read_runs


def main(
    folders: list[str],
    by: str | None = None,
    format: Literal["table", "csv", "markdown", "json"] = "table",
    output: str | None = None,
    figure: str | None = None,
    results: bool = False,
    force: bool = False,
) -> list[Group]:
    """Compares runs in tables and a figure.

    Args:
        folders: run directories, or directories with runs anywhere below them.
        by: the validation figure in metrics.json to order the tables by; null: the one that chose the epochs.
        format: of the tables: table, csv, markdown or json.
        output: file for the tables; null prints them.
        figure: PNG file for the curves; null: compare.png in the first folder, replacing that of an earlier call.
        results: write a page of results instead, in Markdown, with the command, the versions and each seed's figures of
            every configuration; no figure is drawn.
        force: overwrite what `output` and `figure` name.
    """
    for path in filter(None, (output, figure)):
        check_free(Path(path), force)
    if figure and not figure.endswith(".png"):
        raise InputError(f"--figure {figure}: the name must end in .png")
    if by and by.startswith("test/"):
        raise InputError(f"--by {by}: the test set must not choose; take a validation figure, such as val/acc")
    if results and (by or figure or format != "table"):
        raise InputError("--results: the page has its own order and form; leave out --by, --figure and --format")
    runs = read_runs([Path(folder) for folder in folders])
    if results:
        write_out(write_page(runs, folders), Path(output) if output else None)
        return []
    picture = Path(figure) if figure else Path(folders[0]) / "compare.png"
    return compare(runs, by, format, Path(output) if output else None, picture)


if __name__ == "__main__":
    cli(main)
