"""Backpropagation by hand: a textbook's numbers, finite differences, torch's Jacobian, and the header's claims."""

import numpy as np
import pytest
import torch
from torch import nn

from experiments import backpropagation
from experiments.fundamentals.delta_recursion import (
    ACTIVATIONS,
    Kind,
    Layer,
    central_difference,
    descend,
    forward,
    gradients,
    loss_of,
    make_layers,
    predict,
    softmax_jacobian,
)
from experiments.fundamentals.digit_rows import as_float64, read_digits
from experiments.fundamentals.digit_training import Plan, train
from experiments.fundamentals.linear_layers import product_of, singular_values
from harness.command_line.cli import cli
from lit_modules.nets.mlp import MLP

KINDS = [kind for activation in ACTIVATIONS for kind in backpropagation.kinds_of(activation)]


def some(kind):
    """Layers with biases, rows and targets."""
    generator = torch.Generator().manual_seed(0)
    layers = make_layers([5, 4, 4, 3], generator)
    for layer in layers:
        layer.bias.normal_(generator=generator)
    rows = torch.randn(7, 5, generator=generator, dtype=torch.float64)
    return layers, rows, torch.eye(3, dtype=torch.float64)[[0, 1, 2, 2, 1, 0, 0]]


def test_one_step_is_that_of_a_worked_example():
    # M. Mazur 2015, "A step by step backpropagation example": two inputs, two hidden sigmoids, two sigmoid outputs,
    # squared error, rate 0.5. He leaves the biases as they are.
    layers = [
        Layer(torch.tensor([[0.15, 0.20], [0.25, 0.30]]).double(), torch.tensor([0.35, 0.35]).double()),
        Layer(torch.tensor([[0.40, 0.45], [0.50, 0.55]]).double(), torch.tensor([0.60, 0.60]).double()),
    ]
    rows, targets = torch.tensor([[0.05, 0.10]]).double(), torch.tensor([[0.01, 0.99]]).double()
    kind = Kind("sigmoid", "sigmoid", "squared error")
    activations = forward(layers, rows, kind)
    np.testing.assert_allclose(predict(activations[-1], "sigmoid")[0], [0.75136507, 0.772928465], atol=5e-9)
    assert float(loss_of(activations[-1], targets, kind)) == pytest.approx(0.298371109, abs=5e-9)
    descend(layers, gradients(layers, activations, targets, kind), 0.5)
    np.testing.assert_allclose(layers[1].weight, [[0.35891648, 0.408666186], [0.511301270, 0.561370121]], atol=5e-9)
    np.testing.assert_allclose(layers[0].weight, [[0.149780716, 0.19956143], [0.24975114, 0.29950229]], atol=5e-9)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.activation}, {kind.name}")
def test_gradients_are_those_of_finite_differences_everywhere(kind):
    layers, rows, targets = some(kind)
    found = gradients(layers, forward(layers, rows, kind), targets, kind)

    def loss():
        return loss_of(forward(layers, rows, kind)[-1], targets, kind)

    for layer, slopes in zip(layers, found, strict=True):
        for parameter, slope in zip(layer, slopes, strict=True):
            wanted = [central_difference(loss, parameter, place) for place in range(parameter.numel())]
            np.testing.assert_allclose(slope.flatten(), wanted, atol=1e-9)


def test_losses_are_those_of_numpy():
    logits, targets = torch.tensor([[2.0, -1.0, 0.5], [0.0, 3.0, -40.0]]).double(), torch.eye(3).double()[[0, 2]]
    z, y = logits.numpy(), targets.numpy()
    sigmoid, softmax = 1 / (1 + np.exp(-z)), np.exp(z) / np.exp(z).sum(1, keepdims=True)
    wanted = {
        ("sigmoid", "squared error"): ((sigmoid - y) ** 2).sum(1).mean() / 2,
        ("softmax", "squared error"): ((softmax - y) ** 2).sum(1).mean() / 2,
        ("sigmoid", "cross-entropy"): -(y * np.log(sigmoid) + (1 - y) * np.log(1 - sigmoid)).sum(1).mean(),
        ("softmax", "cross-entropy"): -(y * np.log(softmax)).sum(1).mean(),
    }
    for (output, loss), value in wanted.items():
        assert float(loss_of(logits, targets, Kind("tanh", output, loss))) == pytest.approx(value, rel=1e-12)


def test_jacobian_of_softmax_is_autograds_and_keeps_the_sum_of_outputs():
    logits = torch.randn(6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    jacobian = softmax_jacobian(logits.softmax(0))
    wanted = torch.autograd.functional.jacobian(lambda z: z.softmax(0), logits)
    torch.testing.assert_close(jacobian, wanted, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(jacobian.sum(0), 0, atol=1e-15)
    assert np.linalg.matrix_rank(jacobian.numpy()) == 5


def test_linear_layers_are_their_product_and_keep_the_rank_of_their_input():
    torch.manual_seed(0)
    features = torch.randn(50, 2, dtype=torch.float64)
    for activation, rank in (("identity", 2), ("tanh", 8)):
        net = MLP((2,), 3, (8, 8, 8), activation).double()
        for layer in net.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.bias)
        gap = (product_of(net)(features) - net(features)).abs().max().item()
        assert (gap < 1e-12) == (activation == "identity")
        values = singular_values(net, features)
        assert (values > 1e-10 * values[0]).sum() == rank


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    metrics = cli(backpropagation.main, None, ["--steps", "100", "--run_dir", str(folder)])
    (path,) = folder.glob("backpropagation/*")
    return metrics, path


@pytest.mark.parametrize("kind", backpropagation.kinds_of("sigmoid"), ids=lambda kind: kind.name)
def test_only_cross_entropy_unlearns_a_wrong_class_that_the_net_is_sure_of(kind):
    splits = as_float64(read_digits("data", 0, sample=True))
    rate = {"squared error": 3.0, "cross-entropy": 1.0}[kind.loss]  # best from the usual start
    plan = Plan((64, 32), rate, batch_size=64, steps=150, seed=0, wrong=backpropagation.WRONG)
    accuracy = train(splits, kind, plan).accuracies[-1]
    zeros = float((splits["val"].labels == 0).double().mean())  # right without learning anything
    assert accuracy == zeros if kind.loss == "squared error" else accuracy > 0.6


NETWORKS = [f"{output}/{loss}" for output in ("sigmoid", "softmax") for loss in ("squared_error", "cross_entropy")]


@pytest.mark.parametrize("network", NETWORKS)
def test_each_step_of_a_training_is_that_of_autograd(run, network):
    gaps = run[0]["networks"][network]
    assert len(gaps["autograd"]) == len(gaps["central"]) == 100
    assert max(gaps["autograd"]) < 1e-14
    assert max(gaps["central"]) < 1e-9


def test_after_100_steps_accuracies_are_those_of_the_header(run):
    networks = run[0]["networks"]
    same = [networks[name]["val_acc"][-1] for name in NETWORKS]
    assert same == pytest.approx([0.05, 0.77, 0.16, 0.87], abs=0.04)
    best = [max(networks[name]["by_rate"].values()) for name in NETWORKS]
    assert best == pytest.approx([0.50, 0.77, 0.58, 0.87], abs=0.04)


def test_linear_layers_of_the_run_draw_one_line(run):
    metrics, path = run
    assert metrics["linear/gap_from_one_layer"] < 1e-12
    assert (metrics["linear/rank"], metrics["tanh/rank"]) == (2, 8)
    assert metrics["linear/acc"] < 0.8  # a line has at most three of the four clouds right
    assert metrics["tanh/acc"] > 0.95
    assert {figure.stem for figure in path.glob("figures/*.png")} == {
        "output_delta", "curves", "softmax_jacobian", "agreement", "linear_boundaries", "linear_ranks",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--widths", "[8, 0]"], "widths [8, 0]: every layer needs at least one unit"),
        (["--batch_size", "0"], "batch_size 0: must be at least 1"),
        (["--batch_size", "1294"], "batch_size 1294: there are only 1,293 training images"),
        (["--lr", "0"], "lr 0.0: must be above 0"),
        (["--activation", "gelu"], "--activation gelu: expected"),
    ],
)
def test_bad_flag_ends_with_one_line(refusal, flags, said):
    assert said in refusal(backpropagation.main, *flags)
