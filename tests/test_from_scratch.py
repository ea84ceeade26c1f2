"""Softmax regression by hand: formulas, gradient, the script beside torch.nn; and pickles, which are never executed."""

import gzip
import json
import math
import os
import pickle
import struct

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression

from datamodules.pickled_arrays import read_pickled_splits
from experiments import from_scratch
from experiments.fundamentals.softmax_regression import (
    check_labels,
    cross_entropy,
    gradients,
    naive_cross_entropy,
    naive_softmax,
    softmax,
)
from harness.command_line.cli import cli


def some(count=7, features=5, classes=4):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(count, features, generator=generator, dtype=torch.float64)
    weight = torch.randn(classes, features, generator=generator, dtype=torch.float64)
    return rows, torch.randint(classes, (count,), generator=generator), weight, torch.arange(classes) / 10


@pytest.mark.parametrize(("probabilities", "loss"), [(softmax, cross_entropy), (naive_softmax, naive_cross_entropy)])
def test_formulas_are_torchs_at_moderate_logits(probabilities, loss):
    rows, labels, weight, bias = some()
    logits = rows @ weight.T + bias
    torch.testing.assert_close(probabilities(logits), torch.softmax(logits, 1))
    torch.testing.assert_close(loss(logits, labels), F.cross_entropy(logits, labels))


@pytest.mark.parametrize(
    ("logits", "probability", "loss", "naive_probability", "naive_loss"),
    [
        ([1000.0, 1000.0], 0.5, math.log(2), math.nan, math.nan),
        ([-1000.0, -1000.0], 0.5, math.log(2), math.nan, math.nan),
        ([1000.0, -1000.0], 1.0, 0.0, math.nan, math.nan),
        ([-1000.0, 1000.0], 0.0, 2000.0, 0.0, math.inf),
    ],
)
def test_only_the_stable_ones_hold_at_a_thousand(logits, probability, loss, naive_probability, naive_loss):
    logits, label = torch.tensor([logits]), torch.tensor([0])
    assert softmax(logits)[0, 0].item() == pytest.approx(probability)
    assert cross_entropy(logits, label).item() == pytest.approx(loss)
    assert naive_softmax(logits)[0, 0].item() == pytest.approx(naive_probability, nan_ok=True)
    assert naive_cross_entropy(logits, label).item() == pytest.approx(naive_loss, nan_ok=True)


def test_gradient_is_that_of_finite_differences():
    rows, labels, weight, bias = some()
    bias = bias.double()
    weight_gradient, bias_gradient = gradients(rows @ weight.T + bias, rows, labels)
    for parameter, gradient in ((weight, weight_gradient), (bias, bias_gradient)):
        for place in np.ndindex(*parameter.shape):
            losses = []
            for move in (1e-5, -2e-5):
                parameter[place] += move
                losses.append(cross_entropy(rows @ weight.T + bias, labels).item())
            parameter[place] += 1e-5
            assert gradient[place].item() == pytest.approx((losses[0] - losses[1]) / 2e-5, abs=1e-9)


@pytest.mark.parametrize(
    ("labels", "named"), [([3, 0, 10], "label 10 at index 2"), ([3, -1, 10], "label -1 at index 1")]
)
def test_label_out_of_range_is_named_with_its_index(labels, named):
    with pytest.raises(ValueError, match=f"^here: {named}; labels go from 0 to 9$"):
        check_labels(torch.tensor(labels), 10, "here")
    check_labels(torch.arange(10), 10, "here")


def run(tmp_path, *flags):
    metrics = cli(from_scratch.main, None, [*flags, "--run_dir", str(tmp_path / "runs")])
    (folder,) = (tmp_path / "runs").glob("from_scratch/*")
    return metrics, folder


def test_both_trainings_are_equal_at_each_step_and_do_what_the_header_says(tmp_path, capsys):
    metrics, folder = run(tmp_path)
    assert metrics["largest_difference"] < 1e-6
    assert metrics["steps"] == 30 * 41  # of 32 of 1,293 images
    assert metrics["test/acc"] == pytest.approx(0.964, abs=0.01)
    for name in ("train loss", "train acc", "val loss", "val acc"):
        assert metrics["curves"][f"hand {name}"] == pytest.approx(metrics["curves"][f"nn {name}"], abs=1e-6)
        assert len(metrics["curves"][f"hand {name}"]) == 30
    assert json.loads((folder / "metrics.json").read_text())["test/acc"] == metrics["test/acc"]
    assert {path.name for path in folder.glob("figures/*")} == {"weights.png", "curves.png", "stability.png"}
    printed = capsys.readouterr().out.splitlines()
    assert from_scratch.verdict(metrics["largest_difference"]) in printed
    table = [line.split()[-4:] for line in printed if line.lstrip().startswith("(")]
    assert table == [
        ["0.7311", "0.7311", "0.3133", "0.3133"],
        ["0.5", "nan", "0.6931", "nan"],
        ["0.5", "nan", "0.6931", "nan"],
        ["1", "nan", "0", "nan"],
        ["0", "0", "2000", "inf"],
    ]


def test_trainings_that_part_are_not_called_one():
    generator = torch.Generator().manual_seed(0)
    rows = 30 * torch.randn(200, 20, generator=generator)  # far too steep for this rate: rounding is magnified
    split = from_scratch.Split(rows, torch.randint(10, (200,), generator=generator))
    training = from_scratch.train_side_by_side({"train": split, "val": split}, 3.0, 50, 20, seed=0)
    assert training.difference > 0.01
    said = from_scratch.verdict(training.difference)
    assert said.startswith("The two trainings part") and f"{training.difference:.2g}" in said
    figure = from_scratch._draw_curves(training.curves, said)
    assert figure.get_suptitle().startswith(said)
    assert from_scratch.verdict(2.4e-7).startswith("The two trainings are one")


def test_the_loss_comes_down_to_that_of_scikit_learns_logistic_regression():
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(1000, 10, generator=generator)
    labels = (rows + torch.randn(1000, 10, generator=generator)).argmax(1)
    split = from_scratch.Split(rows, labels)
    training = from_scratch.train_side_by_side({"train": split, "val": split}, 3.0, 1000, 200, seed=0)
    model = LogisticRegression(C=1e9, tol=1e-8, max_iter=10_000).fit(rows, labels)
    best = -np.log(model.predict_proba(rows)[np.arange(1000), labels]).mean()
    assert training.curves["hand train loss"][-1] == pytest.approx(best, abs=1e-4)


def splits(count=40):
    rng = np.random.default_rng(0)
    return [
        (rng.random((count, 784), np.float32), (np.arange(count) % 10).astype(np.int64)) for _ in range(3)
    ]  # fmt: skip


def write(path, content, protocol=2):
    path.write_bytes(gzip.compress(pickle.dumps(content, protocol)))
    return path


def assert_same(path, expected):
    for (rows, labels), (expected_rows, expected_labels) in zip(
        read_pickled_splits(path).values(), expected, strict=True
    ):
        np.testing.assert_array_equal(rows, expected_rows)
        np.testing.assert_array_equal(labels, expected_labels)


@pytest.mark.parametrize("protocol", range(6))
def test_pickled_arrays_are_read_in_every_protocol_type_and_order(tmp_path, protocol):
    expected = splits()
    odd = [
        (np.asfortranarray(expected[0][0]), expected[0][1].astype(np.uint8)),
        (expected[1][0].astype(">f8"), expected[1][1].astype(">i4")),
        expected[2],
    ]
    assert_same(write(tmp_path / "mnist.pkl.gz", tuple(odd), protocol), expected)


def python2(array):
    """The opcodes that Python 2 and numpy 1 write for an array, whose content is a string of bytes."""
    name = array.dtype.str[1:].encode()
    shape = b"(" + b"".join(b"J" + struct.pack("<i", size) for size in array.shape) + b"t"
    dtype = b"cnumpy\ndtype\nU\x02" + name + b"K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    content = b"T" + struct.pack("<i", array.nbytes) + array.tobytes()
    start = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    return start + b"(K\x01" + shape + dtype + b"\x89" + content + b"tb"


def test_pickle_of_python_2_is_read(tmp_path):
    expected = splits()
    pairs = b"".join(python2(rows) + python2(labels) + b"\x86" for rows, labels in expected)
    content = b"\x80\x02" + pairs + b"\x87."
    latin1 = pickle.loads(content, encoding="latin1")  # ours, and a check that it is what Python 2 writes
    np.testing.assert_array_equal(latin1[0][0], expected[0][0])
    (tmp_path / "mnist.pkl.gz").write_bytes(gzip.compress(content))
    assert_same(tmp_path / "mnist.pkl.gz", expected)


class Malicious:
    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [0, 2, 5])
@pytest.mark.parametrize(
    ("function", "args", "named"),
    [
        (os.system, ("touch {}",), f"{os.name}.system"),
        (eval, ("open('{}', 'w')",), "__builtin__.eval|builtins.eval"),
        (np.savetxt, ("{}", [1]), "numpy.savetxt"),
        (np.ndarray.tofile, ("{}",), "getattr"),
    ],
)
def test_malicious_pickle_writes_nothing_and_is_named(tmp_path, refusal, protocol, function, args, named):
    written = tmp_path / "written"
    attack = Malicious(function, *(arg.format(written) if isinstance(arg, str) else arg for arg in args))
    path = write(tmp_path / "mnist.pkl.gz", [*splits()[:2], attack], protocol)
    line = refusal(from_scratch.main, "--pickle", str(path))
    assert line.startswith(f"error: {path}: asks for ")
    assert any(name in line for name in named.split("|")), line
    assert not written.exists()
    if function is os.system:
        pickle.loads(gzip.decompress(path.read_bytes()))  # the attack is one
        assert written.exists()


def changed(place, change):
    """Splits of which one array is another."""
    content = [list(pair) for pair in splits()]
    content[place[0]][place[1]] = change(content[place[0]][place[1]])
    return content


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (splits()[:2], "need three pairs of arrays"),
        ([1, 2, 3], "need three pairs of arrays"),
        (changed((1, 0), lambda rows: rows[:, :-1]), "valid: need images as floats, (N, 784), got float32 (40, 783)"),
        (changed((0, 0), lambda rows: rows.reshape(-1, 28, 28)), "train: need images as floats"),
        (changed((0, 0), lambda rows: (255 * rows).astype("u1")), "need images as floats, (N, 784), got uint8"),
        (changed((2, 1), lambda labels: labels[:-1]), "test: need 40 whole numbers as labels, got int64 (39,)"),
        (changed((2, 1), lambda labels: labels.astype("f4")), "test: need 40 whole numbers as labels, got float32"),
        (changed((2, 1), lambda labels: labels.astype(object)), "has an array of type 'O8'; only numbers are read"),
        (changed((0, 0), lambda rows: rows * 2), "train: need pixels from 0 to 1"),
        (changed((0, 0), lambda rows: rows * np.nan), "train: need pixels from 0 to 1"),
        ([(rows[:0], labels[:0]) for rows, labels in splits()], "train: no images"),
        (changed((1, 1), lambda labels: labels + 1), "valid: label 10 at index 9; labels go from 0 to 9"),
        (changed((0, 1), lambda labels: labels - 1), "train: label -1 at index 0; labels go from 0 to 9"),
    ],
)  # fmt: skip
def test_pickle_of_other_content_ends_with_one_line(tmp_path, refusal, content, said):
    path = write(tmp_path / "mnist.pkl.gz", content, protocol=4)
    assert said in refusal(from_scratch.main, "--pickle", str(path))


def test_damaged_or_missing_pickle_ends_with_one_line(tmp_path, refusal):
    path = write(tmp_path / "mnist.pkl.gz", splits())
    whole = path.read_bytes()
    for content in (whole[:-20], whole[: len(whole) // 2], whole[:5], b"", b"text", gzip.compress(b"no pickle")):
        path.write_bytes(content)
        assert f"{path}: cut off, damaged or no pickle" in refusal(from_scratch.main, "--pickle", str(path))
    missing = str(tmp_path / "other.pkl.gz")
    assert refusal(from_scratch.main, "--pickle", missing) == f"error: {missing}: no such file"


def test_script_trains_on_a_pickle(tmp_path):
    path = write(tmp_path / "mnist.pkl.gz", splits())
    metrics, _ = run(tmp_path, "--pickle", str(path), "--max_epochs", "2", "--batch_size", "40")
    assert metrics["steps"] == 2


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--batch_size", "1294"], "batch_size 1294: there are only 1,293 training images"),
        (["--batch_size", "0"], "batch_size 0: must be at least 1"),
        (["--lr", "1e38", "--max_epochs", "1", "--batch_size", "1293"], "lr 1e+38: the training diverges"),
        (["--lr", "-1"], "lr -1.0: must be at least 0"),
    ],
)
def test_bad_flag_ends_with_one_line(refusal, flags, said):
    assert said in refusal(from_scratch.main, *flags)


def test_script_runs_without_any_flag(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    metrics = cli(from_scratch.main, None, [])
    assert metrics["test/acc"] > 0.95 and list(tmp_path.glob("runs/from_scratch/*/metrics.json"))
