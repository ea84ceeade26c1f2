"""The notebook: what is stored in it, and what a run of it says beside what its files and predict.py say."""

import csv
import hashlib
import json
import re
import shutil
from pathlib import Path

import pytest

from experiments import predict

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks" / "tour.ipynb"
LIMIT = 300_000  # bytes of the file
DIGIT = "3"  # that the drawing is of
ABSOLUTE = re.compile(r"(?<![\w.~])(?:/[\w.+-]+){2,}|[A-Za-z]:\\\w")


def cells(notebook):
    return {cell["id"]: cell for cell in notebook["cells"] if cell["cell_type"] == "code"}


def printed(cell):
    return "".join("".join(output["text"]) for output in cell["outputs"] if output["output_type"] == "stream")


def kinds(notebook):
    """What each cell puts out: streams by their names, results by their types."""
    return {
        name: [output.get("name") or set(output["data"]) for output in cell["outputs"]]
        for name, cell in cells(notebook).items()
    }


def accuracies(notebook):
    """Of the test set: as the training reports it, as metrics.json has it, and as the notebook counts it."""
    (reported,) = re.findall(r"^test .* ([\d.]+)%$", printed(cells(notebook)["training"]), re.M)
    counted = printed(cells(notebook)["metrics"])
    (kept,) = re.findall(r"^metrics.json: +([\d.]+)% of 360 ", counted, re.M)
    ((share, right),) = re.findall(r"^counted by hand: ([\d.]+)%, (\d+) of 360$", counted, re.M)
    return float(reported), float(kept), float(share), round(100 * int(right) / 360, 2)


def said(notebook):
    """The probability of each class that the drawing may be of, in per cent."""
    rows = re.findall(r"^(\d) +([\d.]+)%$", printed(cells(notebook)["prediction"]), re.M)
    return {name: float(share) for name, share in rows}


@pytest.fixture(scope="module")
def stored():
    return json.loads(NOTEBOOK.read_text())


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The notebook after a run of it, and the directory of LeNet-5's training."""
    from run_notebook import executed  # here, for the other tests need no kernel

    folder = tmp_path_factory.mktemp("project") / "notebooks"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")  # other tests run beside this one
        notebook = executed(shutil.copy(NOTEBOOK, folder), folder)
    (run,) = folder.parent.glob("runs/tour/*_lenet5")
    return notebook, run


def test_ten_cells_ran_in_their_order(stored):
    assert [cell["execution_count"] for cell in cells(stored).values()] == list(range(1, 11))


def test_stored_outputs_are_those_of_the_code(stored):
    code = "\n".join("".join(cell["source"]) for cell in cells(stored).values())
    fingerprint = hashlib.sha256(code.encode()).hexdigest()[:16]
    assert stored["metadata"]["outputs_of"] == fingerprint, "the code has changed: `make notebook` runs it anew"


def test_stored_outputs_are_no_errors_and_no_warnings(stored):
    outputs = [output for cell in cells(stored).values() for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} == {"stream", "execute_result"}
    assert {output["name"] for output in outputs if "name" in output} == {"stdout"}


@pytest.mark.parametrize("path", ["/home/me/runs/x", "in /tmp/a:", "'/usr/lib'", "C:\\Users"])
def test_absolute_paths_are_found(path):
    assert ABSOLUTE.search(path)


def test_stored_outputs_name_no_place_of_a_machine(stored):
    for name, cell in cells(stored).items():
        for output in cell["outputs"]:
            texts = [output.get("text", []), output.get("data", {}).get("text/plain", [])]
            for line in "".join(part for text in texts for part in text).splitlines():
                assert not ABSOLUTE.search(line), f"{name}: {line}"


def test_file_is_small():
    assert NOTEBOOK.stat().st_size < LIMIT


def test_stored_accuracies_are_one_number(stored):
    assert len(set(accuracies(stored))) == 1


def test_links_lead_somewhere(stored):
    texts = "".join("".join(cell["source"]) for cell in stored["cells"] if cell["cell_type"] == "markdown")
    targets = re.findall(r"\]\(([^)#:]*)#?([\w-]*)\)", texts)
    assert targets
    for target, anchor in targets:
        headings = re.findall(r"^#+ (.*)$", (NOTEBOOK.parent / target).read_text(), re.M)
        assert not anchor or anchor in {heading.lower().replace(" ", "-") for heading in headings}


@pytest.mark.slow
def test_a_run_puts_out_what_is_stored(stored, ran):
    assert kinds(ran[0]) == kinds(stored)


@pytest.mark.slow
def test_accuracy_is_that_of_metrics_json(ran):
    notebook, run = ran
    accuracy = json.loads((run / "metrics.json").read_text())["test/acc"]
    assert accuracy > 0.95
    assert set(accuracies(notebook)) == {round(100 * accuracy, 2)}


@pytest.mark.slow
def test_drawing_is_read_as_its_digit(ran):
    shares = said(ran[0])
    assert sum(shares.values()) == pytest.approx(100, abs=0.1)
    assert max(shares, key=shares.__getitem__) == DIGIT
    assert shares[DIGIT] > 80


@pytest.mark.slow
def test_predict_says_the_same_of_the_drawing(ran, tmp_path):
    notebook, run = ran
    predict.main(str(run), [str(run / "drawing.png")], str(tmp_path / "drawing.csv"))
    ((row),) = csv.DictReader((tmp_path / "drawing.csv").open())
    assert row["label"] == DIGIT
    shares = {name: 100 * float(row[f"p({name})"]) for name in "0123456789"}
    assert shares == pytest.approx(said(notebook), abs=0.02)
