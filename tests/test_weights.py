"""The trained weights in weights/: what their table says of them, and that the tools take them."""

import hashlib
import re

import numpy as np
import pytest
from PIL import Image

from basics.versions import ROOT
from datamodules import samples
from experiments import evaluate, predict

FOLDER = ROOT / "weights"
FILES = sorted(FOLDER.glob("*.ckpt"))
ROWS = dict(re.findall(r"^\| \[`(\S+)`\]\(\1\) \|(.*)\|$", (FOLDER / "README.md").read_text(), re.MULTILINE))


def test_table_has_each_file_with_its_digest_and_size():
    assert FILES and [path.name for path in FILES] == sorted(ROWS)
    for path in FILES:
        content = path.read_bytes()
        assert f"`{hashlib.sha256(content).hexdigest()}`" in ROWS[path.name]
        assert f" {len(content) / 1000:.0f} KB " in ROWS[path.name]
        assert len(content) < 1_000_000


@pytest.mark.parametrize("path", [path for path in FILES if path.name.startswith("mnist")], ids=lambda path: path.name)
def test_digits_in_files_are_read(path, tmp_path, monkeypatch):
    """Digits of another collection, drawn dark on white paper as in a scan."""
    monkeypatch.chdir(tmp_path)
    digits = samples.digits()
    for place in range(40):
        image = Image.fromarray(255 - digits.test_images[place]).resize((90, 90), Image.Resampling.BICUBIC)
        image.save(tmp_path / f"{place:02}.png")
    predict.main(str(path), [str(tmp_path)], output="labels.csv")
    said = [line.split(",")[1] for line in (tmp_path / "labels.csv").read_text().splitlines()[1:]]
    assert np.mean([int(label) for label in said] == digits.test_labels[:40]) > 0.85


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_accuracy_is_that_of_the_table(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    data = path.name.split("_")[0].replace("fashion", "fashion_mnist")
    if not (ROOT / "data" / data).exists():
        pytest.skip(f"data/{data} is not at hand")
    (stated,) = re.findall(r"\| (\d\d\.\d\d) % \|", ROWS[path.name])
    # On a CPU that would emulate the bfloat16 of training, an image or two have another answer.
    assert 100 * evaluate.main(str(path))["test/acc"] == pytest.approx(float(stated), abs=0.026)
