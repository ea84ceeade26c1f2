"""Logistic regression against scikit-learn and closed forms, classes that one layer cannot separate, and bad input."""

import json
from functools import partial

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from torch import nn

from datamodules.sample_tables import diabetes
from experiments import logistic_regression
from experiments.fundamentals import two_class_problems
from experiments.fundamentals.two_class import (
    Problem,
    Rows,
    best_threshold,
    linear_pair,
    predict,
    smoothness,
    to_the_minimum,
    train,
)
from harness.command_line.cli import cli


def run(tmp_path, *flags):
    return cli(logistic_regression.main, None, [*flags, "--run_dir", str(tmp_path / "runs")])


def write(tmp_path, text):
    (tmp_path / "rows.csv").write_text(text)
    return str(tmp_path / "rows.csv")


def rows_of(count=60):
    """Two numbers and a town, and an answer that the first number makes likely."""
    rng = np.random.default_rng(0)
    lines = ["size,age,town,bought"]
    for number in range(count):
        size = rng.normal()
        answer = "yes" if size + rng.normal() > 0 else "no"
        lines.append(f"{size:.3f},{number % 7},{'AB'[number % 2]},{answer}")
    return lines


def sklearns(rows):
    return LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(rows.features.numpy(), rows.labels.numpy())


def assert_same_weights(net, theirs):
    np.testing.assert_allclose(net.weight[0].detach(), theirs.coef_[0], atol=1e-4)
    assert net.bias.item() == pytest.approx(theirs.intercept_[0], abs=1e-4)


def test_default_run_shows_all_problems(tmp_path):
    metrics = run(tmp_path)
    (folder,) = (tmp_path / "runs" / "logistic_regression").iterdir()
    assert {path.stem for path in (folder / "figures").glob("*.png")} == {
        "blobs_equality", "blobs_boundary", "blobs_curves", "xor_boundaries", "table_curves", "table_weights",
    }  # fmt: skip
    assert len(json.loads((folder / "metrics.json").read_text())["table/weights"]) == 10
    assert metrics["blobs/largest_gap"] < 1e-14
    assert [metrics[f"blobs/{name}"] for name in ("w1", "w2", "b")] == pytest.approx([2, 1.5, -3.125], abs=0.4)
    assert metrics["blobs/at_half/acc"] == pytest.approx(0.894, abs=0.05)  # the normal distribution up to 1.25
    assert 0.4 < metrics["xor/one_layer/acc"] < 0.8
    assert metrics["xor/two_layers/acc"] > 0.99
    assert metrics["table/roc_auc"] == pytest.approx(0.754, abs=0.005)  # as the header says
    for problem in ("blobs", "table"):
        assert 0 < metrics[f"{problem}/threshold"] < 1


def test_sigmoid_and_softmax_start_alike():
    one, two = linear_pair(3)
    features = torch.randn(20, 3, dtype=torch.float64)
    torch.testing.assert_close(one(features).sigmoid()[:, 0], two(features).softmax(1)[:, 1])


def test_softmax_at_half_the_rate_stays_sigmoid_and_at_the_same_rate_does_not():
    rows = two_class_problems.blobs(100, 3).train
    torch.manual_seed(0)
    one, two = linear_pair(2)
    start = {name: tensor.clone() for name, tensor in two.state_dict().items()}
    sigmoid = torch.stack(train(one, partial(torch.optim.SGD, lr=0.4), rows, 50).probabilities)
    half = torch.stack(train(two, partial(torch.optim.SGD, lr=0.2), rows, 50).probabilities)
    two.load_state_dict(start)
    same = torch.stack(train(two, partial(torch.optim.SGD, lr=0.4), rows, 50).probabilities)
    torch.testing.assert_close(half, sigmoid, rtol=0, atol=1e-13)
    assert (same - sigmoid).abs().max() > 0.01


def test_smoothness_bounds_the_curvature_of_the_loss():
    rows = two_class_problems.blobs(50, 0).train
    zero = torch.zeros(3, dtype=torch.float64)  # where p (1 - p) is 1/4 everywhere, the bound is met

    def loss(weights):
        logits = rows.features @ weights[:2] + weights[2]
        return nn.functional.binary_cross_entropy_with_logits(logits, rows.labels.double())

    hessian = torch.autograd.functional.hessian(loss, zero)
    assert smoothness(rows.features) == pytest.approx(torch.linalg.eigvalsh(hessian)[-1].item())


def test_gradient_descent_finds_scikit_learns_weights():
    rows = two_class_problems.blobs(400, 1).train
    net = nn.Linear(2, 1)
    train(net, partial(torch.optim.SGD, lr=1 / smoothness(rows.features)), rows, 1500)
    assert_same_weights(net, sklearns(rows))


def test_weights_of_the_diabetes_table_are_scikit_learns():
    problem, features = two_class_problems.read_table("", "", seed=0)
    net = nn.Linear(len(features), 1)
    model = train(net, to_the_minimum, problem.train, 1)
    theirs = sklearns(problem.train)
    assert_same_weights(net, theirs)
    _, probabilities = predict(model, problem.test)
    np.testing.assert_allclose(probabilities, theirs.predict_proba(problem.test.features.numpy())[:, 1], atol=1e-5)


def test_diabetes_answers_are_equally_frequent_and_split_apart():
    problem, features = two_class_problems.read_table("", "", seed=0)
    assert [len(rows.labels) for rows in problem[1:4]] == [265, 88, 89]
    above = diabetes().cells["progression"].astype(float) > 140.5
    assert sum(rows.labels.sum().item() for rows in problem[1:4]) == above.sum() == 221
    np.testing.assert_allclose(problem.train.features.mean(0), 0, atol=1e-6)  # by the training rows
    np.testing.assert_allclose(problem.train.features.std(0, correction=0), 1, atol=1e-6)
    assert features[2] == "bmi"


@pytest.mark.parametrize("seed", [1, 2])
def test_two_layers_solve_xor_and_one_does_not(seed):
    torch.manual_seed(seed)
    metrics, _ = logistic_regression.solve_xor(two_class_problems.xor(400, seed), hidden=8)
    assert metrics["xor/two_layers/acc"] > 0.98
    assert metrics["xor/one_layer/acc"] < 0.8  # a line has at most three of the four clouds right


def test_threshold_has_the_highest_f1_of_all():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 80)
    probabilities = (0.3 * labels + 0.7 * rng.random(80)).round(2)
    chosen = best_threshold(labels, probabilities)
    scores = [f1_score(labels, probabilities >= limit) for limit in np.linspace(0.01, 0.99, 99)]
    assert f1_score(labels, probabilities >= chosen) == pytest.approx(max(scores))


def test_a_file_with_numbers_and_words(tmp_path):
    metrics = run(tmp_path, "--csv", write(tmp_path, "\n".join(rows_of())), "--target", "bought")
    assert set(metrics["table/weights"]) == {"size", "age", "town=A", "town=B"}
    assert metrics["table/weights"]["size"] > 0.5


def test_dropped_column_is_as_if_the_file_did_not_have_it(tmp_path):
    lines = rows_of()
    whole = write(tmp_path, "\n".join([f"name,{lines[0]}", *(f"row {n},{line}" for n, line in enumerate(lines[1:]))]))
    dropped = run(tmp_path, "--csv", whole, "--target", "bought", "--drop", "name,town")
    without = write(tmp_path, "\n".join(",".join(line.split(",")[:2] + line.split(",")[3:]) for line in lines))
    expected = run(tmp_path, "--csv", without, "--target", "bought")
    assert dropped["table/weights"] == expected["table/weights"]
    assert set(dropped["table/weights"]) == {"size", "age"}


def test_how_a_file_was_understood_is_said(tmp_path, capsys):
    lines = [line.replace(",", "%,", 1) if number else line for number, line in enumerate(rows_of())]
    metrics = run(tmp_path, "--csv", write(tmp_path, "\n".join(lines)), "--target", "bought")
    assert metrics["table/weights"]["size"] > 0.5
    first = lines[1].partition(",")[0]
    assert f"note: column 'size': '{first}' is read as" in capsys.readouterr().out


def test_separable_rows_are_announced(capsys):
    features = torch.linspace(-1, 1, 40, dtype=torch.float64)[:, None]
    rows = Rows(features, (features[:, 0] > 0).long())
    metrics, _ = logistic_regression.solve_table(Problem("table", rows, rows, rows, "1"), ["x"])
    assert "separable" in capsys.readouterr().out
    assert metrics["table/at_half/acc"] == 1


GOOD = rows_of()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no such file"),
        ("", "an empty file"),
        (GOOD[0], "a header and no rows"),
        ("\n".join([GOOD[0].replace("bought", "sold"), *GOOD[1:]]), "column 'bought' is missing"),
        ("\n".join([*GOOD[:4], "big,3,A,yes", *GOOD[4:]]), "line 5, column 'size': 'big' is not a number"),
        ("\n".join([*GOOD[:4], "inf,3,A,yes", *GOOD[4:]]), "line 5, column 'size': 'inf' is not finite"),
        ("\n".join([*GOOD[:4], "1,3,A,nan", *GOOD[4:]]), "line 5, column 'bought': 'nan' is missing"),
        ("x,bought\n1,yes\n2,no\n", "2 rows are too few"),
        ("\n".join(GOOD).replace("yes", "no"), "column 'bought': always 'no'"),
        ("\n".join([*GOOD, "1,3,A,maybe"]), "column 'bought': 3 classes ('maybe', 'no', 'yes'); it takes two"),
        ("\n".join([*GOOD, "1,3,A,maybe"]).replace("yes", "no"), "'maybe', in 1 row, has none to train on"),
    ],
)
def test_bad_file_is_one_line(tmp_path, refusal, text, words):
    csv = str(tmp_path / "rows.csv") if text is None else write(tmp_path, text)
    line = refusal(logistic_regression.main, "--csv", csv, "--target", "bought")
    assert words in line
    assert csv in line


def test_class_that_the_test_rows_lack_is_one_line(tmp_path, refusal):
    answers = np.array(["yes"] * 2 + ["no"] * 58)  # one is held out, and one stays for training
    csv = write(tmp_path, "size,bought\n" + "".join(f"{row % 9},{answer}\n" for row, answer in enumerate(answers)))
    line = refusal(logistic_regression.main, "--csv", csv, "--target", "bought")
    assert "column 'bought': 'yes' is in none of the 12 validation rows; it takes more rows" in line


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--problem", "spirals"], "--problem spirals: expected"),
        (["--lr", "0"], "--lr 0.0: must be above 0"),
        (["--points", "19"], "--points 19: must be at least 20"),
        (["--hidden", "0"], "--hidden 0: must be at least 1"),
        (["--steps", "0"], "--steps 0: must be at least 1"),
        (["--seed", "-1"], "--seed -1: must be at least 0"),
        (["--csv", "rows.csv"], "--target: is needed with --csv"),
        (["--target", "bought"], "--csv: is needed with --target"),
        (["--drop", "name,town"], "--drop name,town: is only for a file; name it by --csv"),
        (["--csv", "rows.csv", "--target", "bought", "--problem", "xor"], "--problem xor reads no file"),
    ],
)
def test_bad_flag_is_one_line(refusal, flags, words):
    assert words in refusal(logistic_regression.main, *flags)
