"""Autograd: every example against the derivative on paper, the graph against published numbers and hand counts."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from experiments import autograd
from experiments.fundamentals.autograd_examples import CHAPTERS
from experiments.fundamentals.autograd_figures import places_of
from experiments.fundamentals.autograd_graph import graph_of
from experiments.fundamentals.worked_examples import given, outcome_of, value_of
from harness.command_line.cli import cli

EXAMPLES = {
    f"{chapter} {number}": example
    for chapter, examples in CHAPTERS.items()
    for number, example in enumerate(examples, start=1)
}
ACCEPTED = {name: example for name, example in EXAMPLES.items() if example.peer is not None}
SCRIPTS = sorted(path.stem for path in (Path(__file__).parents[1] / "experiments").glob("*.py"))


def plain(value):
    return value.detach().numpy().copy() if isinstance(value, Tensor) else value


@pytest.mark.parametrize("example", ACCEPTED.values(), ids=ACCEPTED)
def test_example_is_the_derivative_on_paper(example):
    result, expected = outcome_of(example).result, value_of(example.peer, given_as_arrays(example))
    pairs = zip(result, expected, strict=True) if isinstance(result, tuple) else [(result, expected)]
    for ours, theirs in pairs:
        if isinstance(ours, Tensor):
            assert ours.shape == np.shape(theirs)
            np.testing.assert_allclose(plain(ours), theirs, rtol=1e-5, atol=1e-6)
        else:
            assert ours == theirs


def given_as_arrays(example):
    return {name: plain(value) for name, value in given(example).items()}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("leaves 6", "does not require grad"),
        ("cutting 4", "leaf Variable that requires grad"),
        ("again 1", "backward through the graph a second time"),
        ("vectors 1", "scalar outputs"),
        ("in_place 1", "modified by an inplace operation"),
    ],
)
def test_what_torch_refuses_is_what_the_title_says(name, said):
    assert said in str(outcome_of(EXAMPLES[name]).result)


@pytest.fixture(scope="module")
def published():
    """The graph of the survey's example, where x1 = 2 and x2 = 5, and its gradients."""
    return autograd.small_graph(2.0, 5.0)


def test_small_graph_has_the_values_and_adjoints_of_the_survey(published):
    graph, gradients = published
    assert gradients == {"x1": pytest.approx(5.5), "x2": pytest.approx(1.716, abs=5e-4)}
    values = {node.name: round(float(node.value), 3) for node in graph.nodes}
    assert values == {"x1": 2, "x2": 5, "log": 0.693, "mul": 10, "sin": -0.959, "add": 10.693, "sub": 11.652}
    flows = {(graph.nodes[edge.source].name, graph.nodes[edge.target].name): edge.gradient for edge in graph.edges}
    assert {pair: float(gradient) for pair, gradient in flows.items()} == {
        ("x1", "log"): 1 / 2,
        ("x1", "mul"): 5,
        ("x2", "mul"): 2,
        ("x2", "sin"): pytest.approx(-np.cos(5)),
        ("log", "add"): 1,
        ("mul", "add"): 1,
        ("add", "sub"): 1,
        ("sin", "sub"): -1,
    }


def test_gradients_along_a_leafs_edges_sum_to_its_gradient(published):
    graph, gradients = published
    for number, node in enumerate(graph.nodes):
        if node.leaf:
            assert gradients[node.name] == sum(float(edge.gradient) for edge in graph.edges if edge.source == number)


def test_graph_of_the_net_has_its_weights_and_not_its_data():
    graph = autograd.net_graph()
    assert {node.name for node in graph.nodes if node.leaf} == {"0.weight", "0.bias", "2.weight", "2.bias"}
    operations = sorted(node.name for node in graph.nodes if not node.leaf)
    assert operations == ["addmm", "addmm", "log_softmax", "nll_loss", "relu", "t", "t"]
    assert len(graph.edges) == len(graph.nodes) - 1  # nothing is used twice
    for edge in graph.edges:
        if graph.nodes[edge.source].leaf:
            assert edge.gradient.shape == graph.nodes[edge.source].value.shape


def test_graph_leaves_gradients_and_the_graph_as_they_were():
    x = torch.tensor(2.0, requires_grad=True)
    y = x.exp()
    graph = graph_of(y, {"x": x})
    assert x.grad is None and len(graph.edges) == 1
    y.backward()
    assert x.grad.item() == pytest.approx(np.exp(2))


@pytest.mark.parametrize("graph", [autograd.net_graph(), autograd.small_graph(2.0, 5.0)[0]], ids=["net", "small"])
def test_whatever_is_used_is_drawn_left_of_its_use_and_no_two_nodes_on_one_place(graph):
    places = places_of(graph)
    for edge in graph.edges:
        assert places[edge.source, 0] <= places[edge.target, 0] - 1
    distances = abs(places[:, None] - places).max(-1) + 2 * np.eye(len(places))
    assert distances.min() >= 1


def test_derivatives_are_those_of_numpys_tanh():
    x = torch.linspace(-4, 4, 201, dtype=torch.float64)
    tanh = np.tanh(x.numpy())
    for values in (autograd.derivatives(x), autograd.derivatives_by_hand(x)):
        expected = (tanh, 1 - tanh**2, -2 * tanh * (1 - tanh**2))
        for ours, theirs in zip(values.values(), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-14)


def test_script_prints_what_the_header_says_in_80_columns(tmp_path, capsys):
    metrics = cli(autograd.main, None, ["--run_dir", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= 80
    assert metrics["examples"] == len(EXAMPLES) and f"{metrics['examples']} small examples" in autograd.__doc__
    assert (metrics["df/dx1"], metrics["df/dx2"]) == (5.5, pytest.approx(2 - np.cos(5)))
    assert metrics["largest_difference"] < 1e-14
    assert lines[-2].startswith("to try next: ")
    assert {path.stem for path in tmp_path.glob("autograd/*/figures/*.png")} == {"net", "numbers", "derivatives"}


def test_only_the_figures_of_the_chapters_are_drawn(tmp_path):
    cli(autograd.main, None, ["--chapters", "accumulation,corners", "--run_dir", str(tmp_path)])
    assert {path.stem for path in tmp_path.glob("autograd/*/figures/*.png")} == {"numbers"}


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--x1", "0"], "x1 0: must be above 0"),
        (["--x2", "inf"], "--x2 inf: expected float"),
        (["--chapters", "[]"], "chapters []: name at least one"),
        (["--chapters", "[leafs]"], "chapter 'leafs': no such chapter; did you mean leaves?"),
    ],
)
def test_bad_input_ends_with_one_line(refusal, flags, said):
    assert said in refusal(autograd.main, *flags)


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_script_has_the_name_of_a_module_that_it_would_shadow(script):
    """Python finds what is beside a running script before everything else."""
    assert importlib.util.find_spec(script) is None
