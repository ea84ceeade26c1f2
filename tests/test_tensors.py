"""The course of tensors: every example against numpy, lines against 80 columns, drawn memory against storage."""

import re

import numpy as np
import pytest
import torch

from experiments import tensors
from experiments.fundamentals.tensor_figures import READINGS, SUMS, addresses
from experiments.fundamentals.worked_examples import (
    Example,
    block_of,
    given,
    lines_of,
    outcome_of,
    side_by_side,
    value_of,
)
from harness.command_line.cli import cli

EXAMPLES = {
    f"{chapter} {number}": example
    for chapter, examples in tensors.CHAPTERS.items()
    for number, example in enumerate(examples, start=1)
}
ACCEPTED = {name: example for name, example in EXAMPLES.items() if example.peer is not None}


def as_arrays(names):
    """What an example is given, as arrays that share no memory with the tensors."""
    return {name: np.array(value) for name, value in names.items()}


def assert_same(result, expected):
    """Values, shapes and kinds of type agree: floats may be of another precision, but not whole numbers."""
    if isinstance(result, tuple | list) and not isinstance(result, torch.Size):
        assert len(result) == len(expected)
        for pair in zip(result, expected, strict=True):
            assert_same(*pair)
        return
    result, expected = np.asarray(result), np.asarray(expected)
    assert result.shape == expected.shape
    assert result.dtype.kind == expected.dtype.kind
    np.testing.assert_allclose(result, expected, rtol=1e-6)


@pytest.mark.parametrize("example", ACCEPTED.values(), ids=ACCEPTED)
def test_example_is_what_numpy_makes_of_it(example):
    assert_same(outcome_of(example).result, value_of(example.peer, as_arrays(given(example))))


def test_what_torch_refuses_is_shown_with_its_reason():
    refused = {name: outcome_of(each).result for name, each in EXAMPLES.items() if each.peer is None}
    assert len(refused) == 11
    assert all(isinstance(error, RuntimeError | IndexError | ValueError) for error in refused.values())
    assert "view" in str(refused["shape 7"]) and "(3) must match" in str(refused["broadcasting 3"])


def test_an_example_that_should_be_refused_and_is_not_is_a_bug():
    with pytest.raises(RuntimeError, match="should have been refused"):
        outcome_of(Example("a title", "x = torch.zeros(2)", "x + 1"))


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("creation 11", [10, 110, 4]),  # 250 + 10 - 256
        ("indexing 12", [[0, 1, 2, 3], [99, 5, 6, 7], [8, 9, 10, 11]]),
        ("shape 4", [[0, 3], [1, 4], [2, 5]]),
        ("broadcasting 6", [[0, -1, -2], [1, 0, -1], [2, 1, 0]]),
        ("picking 6", [[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 1, 0]]),
    ],
)
def test_example_is_what_one_finds_on_paper(name, result):
    assert outcome_of(EXAMPLES[name]).result.tolist() == result


def test_printed_example_reads_from_left_to_right():
    assert lines_of(EXAMPLES["shape 4"], "3.4", "numpy") == [
        "",
        "3.4  Rows become columns",
        "     given  x = torch.arange(6).view(2, 3)",
        "     torch  x.T",
        "     numpy  x.T",
        "     x (2, 3) int64  ->  (3, 2) int64",
        "     [[0, 1, 2],         [[0, 3],",
        "      [3, 4, 5]]          [1, 4],",
        "                          [2, 5]]",
    ]


def test_values_before_are_those_before_the_operation():
    before = outcome_of(EXAMPLES["memory 4"]).before
    assert before == [["x (3,) float32", "[1., 2., 3.]"]]


def test_block_without_room_begins_a_new_row():
    assert side_by_side([["aa", "a"], ["bbb"], ["cc"]], 7) == ["aa  bbb", "a", "cc"]


def test_block_of_an_exception_is_its_first_line():
    assert block_of(ValueError("one\ntwo")) == ["ValueError: one"]


@pytest.mark.parametrize("code", [code for code, _ in READINGS])
def test_memory_at_each_address_holds_the_element(code):
    tensor = value_of(code, {"x": torch.arange(12).view(3, 4)})
    memory = np.frombuffer(bytes(tensor.untyped_storage().tolist()), np.int64)
    np.testing.assert_array_equal(memory[addresses(tensor)], tensor)


def test_one_of_the_sums_that_are_drawn_is_refused_by_numpy_too():
    refused = []
    for each in SUMS:
        left, right = value_of(each.left, {}), value_of(each.right, {})
        try:
            np.testing.assert_array_equal(left + right, left.numpy() + right.numpy())
        except (RuntimeError, ValueError):
            refused.append(each.says)
    assert refused == ["3 and 2 do not fit: refused"]


def test_script_prints_the_course_in_80_columns(tmp_path, capsys):
    metrics = cli(tensors.main, None, ["--run_dir", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= 80
    numbered = [line for line in lines if re.match(r"\d\.\d+ ", line)]
    assert len(numbered) == metrics["examples"] == len(EXAMPLES)
    assert f"{metrics['examples']} small examples" in tensors.__doc__
    assert f"In {metrics['refused']}\nof them torch refuses" in tensors.__doc__
    assert lines[-2].startswith("to try next: ")
    assert {path.stem for path in tmp_path.glob("tensors/*/figures/*.png")} == {"strides", "broadcasting", "scramble"}


def test_script_prints_the_chapters_that_one_asks_for(tmp_path, capsys):
    metrics = cli(tensors.main, None, ["--chapters", "[picking]", "--run_dir", str(tmp_path)])
    assert metrics["examples"] == len(tensors.CHAPTERS["picking"])
    assert "1.1  where chooses" in capsys.readouterr().out
    assert not list(tmp_path.glob("tensors/*/figures/*.png"))  # the figures belong to other chapters


@pytest.mark.parametrize(
    ("chapter", "figures"), [("shape", {"strides", "scramble"}), ("broadcasting", {"broadcasting"})]
)
def test_only_the_figures_of_the_chapters_are_drawn(tmp_path, chapter, figures):
    cli(tensors.main, None, ["--chapters", chapter, "--run_dir", str(tmp_path)])
    assert {path.stem for path in tmp_path.glob("tensors/*/figures/*.png")} == figures


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--chapters", "[]"], "chapters []: name at least one"),
        (["--chapters", "[memory, shapes]"], "chapter 'shapes': no such chapter; did you mean shape?"),
    ],
)
def test_bad_input_ends_with_one_line(refusal, flags, said):
    assert said in refusal(tensors.main, *flags)
