"""activations.py: derivatives, the effect of initialisation on variance and gradients, repairs, and warnings."""

import json
import math
import re

import pytest
import torch
from lightning.pytorch import seed_everything
from torch import nn

from datamodules import MNIST
from experiments import activations
from experiments.activations import (
    HEALTHY,
    VARIANTS,
    Norms,
    layer_norms,
    spans,
    steepest,
    study_network,
    unhealthy,
    value_and_slope,
)
from harness.command_line.cli import cli
from lit_modules import Classifier
from lit_modules.nets.mlp import ACTIVATIONS, MLP

SHAPE = (1, 8, 8)
X = torch.linspace(-4, 4, 81, dtype=torch.float64) + 0.013  # between the corners of relu and its kin


def logistic(x):
    return 1 / (1 + torch.exp(-x))


SELU = 1.6732632423543772, 1.0507009873554805  # alpha and scale, Klambauer et al. 2017
CLOSED_FORMS = {
    "sigmoid": lambda x: logistic(x) * (1 - logistic(x)),
    "tanh": lambda x: 1 / torch.cosh(x) ** 2,
    "relu": lambda x: (x > 0).double(),
    "leaky_relu": lambda x: torch.where(x > 0, 1.0, 0.01).double(),
    "elu": lambda x: torch.where(x > 0, 1.0, torch.exp(x)),
    "selu": lambda x: SELU[1] * torch.where(x > 0, 1.0, SELU[0] * torch.exp(x)),
    "softplus": logistic,
    "gelu": lambda x: 0.5 * (1 + torch.erf(x / 2**0.5)) + x * torch.exp(-(x**2) / 2) / math.sqrt(2 * math.pi),
}


@pytest.mark.parametrize(("name", "closed_form"), CLOSED_FORMS.items())
def test_slope_is_the_closed_form(name, closed_form):
    _, slope = value_and_slope(name, X)
    torch.testing.assert_close(slope, closed_form(X), rtol=1e-6, atol=1e-9)


# Where the slope is largest: at 0 for most, at sqrt(2) for gelu; softplus' nears 1.
@pytest.mark.parametrize(
    ("name", "bound"),
    [("sigmoid", 1 / 4), ("tanh", 1), ("relu", 1), ("softplus", 1), ("selu", SELU[0] * SELU[1]), ("gelu", 1.1289)],
)
def test_largest_slope_is_that_of_the_whole_axis(name, bound):
    assert steepest(name) == pytest.approx(bound, abs=1e-4)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_slope_is_the_finite_difference(name):
    step = 1e-5
    (above, _), (below, _), (_, slope) = (value_and_slope(name, x) for x in (X + step, X - step, X))
    torch.testing.assert_close(slope, (above - below) / (2 * step), rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(("init", "factor"), [("he", 1.0), ("lecun", 0.5), ("xavier", 0.5), ("default", 1 / 6)])
def test_only_he_keeps_the_second_moment_through_rectifiers(init, factor):
    # A rectifier halves the second moment, E[relu(z)^2] = E[z^2] / 2; a layer multiplies it by fan-in * Var(w).
    torch.manual_seed(0)
    net = MLP((1, 1, 512), 10, widths=[512] * 10, init=init)
    for layer in net.hidden:
        if isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.bias)
    ratio = net.hidden(torch.randn(500, 512)).square().mean().item()  # the input's second moment is 1
    assert ratio**0.1 == pytest.approx(factor, rel=0.07)


def gradients(variant, activation, depth=20, width=64):
    """The gradient norms of a deep MLP on random images, by layer."""
    seed_everything(0, verbose=False)
    options = VARIANTS[variant] | {"widths": [width] * depth, "activation": activation}
    model = Classifier("mlp", SHAPE, 10, net_args=options)
    return layer_norms(model, torch.randn(256, *SHAPE), torch.randint(10, (256,)))


def test_norms_are_those_of_autograd_from_the_input_to_the_output():
    seed_everything(0, verbose=False)
    model = Classifier("mlp", SHAPE, 10, net_args={"widths": [8, 8]})
    images, labels = torch.randn(16, *SHAPE), torch.randint(10, (16,))
    layers = [model.net.hidden[0], model.net.hidden[2], model.net.output]
    loss = -torch.log_softmax(model(images), 1)[torch.arange(16), labels].mean()
    gradients = [torch.autograd.grad(loss, list(layer.parameters()), retain_graph=True) for layer in layers]
    expected = [math.hypot(*(float(gradient.norm()) for gradient in both)) for both in gradients]
    assert layer_norms(model, images, labels) == pytest.approx(expected, rel=1e-5)


def test_sigmoid_with_torchs_own_weights_vanishes_by_a_factor_of_seven_a_layer():
    # sqrt(n Var(w)) = sqrt(1 / 3) times the slope, at most 1/4: 0.144 a layer, as a root mean square.
    norms = gradients("default", "sigmoid")
    ratio = (norms[2] / norms[17]) ** (1 / 15)
    assert ratio == pytest.approx(math.sqrt(1 / 3) / 4, rel=0.1)
    assert len(unhealthy(norms)["below"]) >= 16


@pytest.mark.parametrize("variant", ["batchnorm", "residual", "both"])
def test_batchnorm_and_residual_connections_repair_sigmoid(variant):
    norms = gradients(variant, "sigmoid")
    assert not unhealthy(norms)["below"]
    assert norms[2] > 1e6 * gradients("default", "sigmoid")[2]


def test_no_initial_weights_help_sigmoid():
    for variant in ("default", "xavier", "he", "lecun"):
        assert gradients(variant, "sigmoid", depth=24)[0] < 1e-10


@pytest.mark.parametrize(("activation", "variant"), [("relu", "he"), ("tanh", "xavier"), ("selu", "lecun")])
def test_the_init_that_suits_an_activation_keeps_its_gradients(activation, variant):
    suited, default = gradients(variant, activation), gradients("default", activation)
    assert not any(unhealthy(suited).values())
    assert max(suited) < 10 * min(suited)
    assert default[2] / default[17] < suited[2] / suited[17] / 2


def test_residual_rectifiers_explode_without_batchnorm_only():
    deep, deeper = gradients("residual", "relu", 10), gradients("residual", "relu", 40)
    assert deeper[2] > 100 * deep[2]
    assert gradients("both", "relu", 40)[2] < 10 * gradients("both", "relu", 10)[2]


@pytest.mark.parametrize(
    ("activation", "variant", "low", "high"),
    [("relu", "default", 0.0, 0.15), ("relu", "both", 0.9, 1.0), ("sigmoid", "both", 0.7, 1.0)],
)
def test_what_a_network_learns_in_100_steps(activation, variant, low, high):
    data = MNIST(batch_size=128, sample=True)
    data.setup()
    options = VARIANTS[variant] | {"widths": [64] * 24, "activation": activation}
    batch = next(iter(data.train_dataloader()))
    assert low <= study_network(data, batch, options, lr=0.02, steps=100, seed=0).accuracy <= high


@pytest.mark.parametrize(("lr", "width"), [(0.02, 64), (0.5, 100)])
def test_what_the_bounds_do_is_said_for_the_rate_and_the_width_of_the_run(lr, width):
    torch.manual_seed(0)
    nets = [MLP(SHAPE, 10, widths=[width] * 2, init=init) for init in ("default", "he")]
    own, he = (net.hidden[2].weight.norm().item() for net in nets)
    said = re.findall(r"[\d.]+", activations._reason(lr, width))
    low, high, rate, _, own_norm, slow, _, he_norm, fast = map(float, said)
    assert (low, high, rate) == (*HEALTHY, lr)
    assert (own_norm, he_norm) == pytest.approx((own, he), rel=0.03)
    assert slow == pytest.approx(100 * 1000 * lr * low / own, rel=0.05)
    assert fast == pytest.approx(100 * lr * high / he, rel=0.05)


def test_unhealthy_counts_layers_from_one_and_nan_as_above():
    low, high = HEALTHY
    norms = [low / 2, low, 1.0, high, 2 * high, math.nan, math.inf, 0.0]
    assert unhealthy(norms) == {"below": [1, 8], "above": [5, 6, 7]}


@pytest.mark.parametrize(("numbers", "text"), [([1, 2, 3, 7], "1-3, 7"), ([5], "5"), ([1, 3, 4], "1, 3-4")])
def test_spans(numbers, text):
    assert spans(numbers) == text


def test_norms_that_are_not_finite_are_null_in_json():
    data = Norms([1.0, math.nan], [math.inf, 0.0], 0.5).as_data()
    assert json.loads(json.dumps(data, allow_nan=False)) == {
        "initial": [1.0, None],
        "trained": [None, 0.0],
        "val/acc": 0.5,
    }


def test_run_warns_of_vanishing_layers_and_leaves_figures(tmp_path, capsys):
    flags = ["--activation", "sigmoid", "--depth", "12", "--width", "32", "--steps", "10", "--run_dir", str(tmp_path)]
    metrics = cli(activations.main, None, flags)
    printed = capsys.readouterr().out
    norms = metrics["by_activation"]["sigmoid"]["default"]["initial"]
    below = [number for number, norm in enumerate(norms, start=1) if norm < HEALTHY[0]]
    assert len(norms) == 13
    assert f"warning: sigmoid, default: below in {spans(below)} of 13 layers at first" in printed
    assert "healthy is a gradient norm from 0.01 to 50" in printed
    assert metrics["networks"] == len(VARIANTS)
    (run,) = tmp_path.glob("activations/*")
    assert json.loads((run / "metrics.json").read_text())["by_activation"] == metrics["by_activation"]
    for name in ("functions", "gradients_initial", "gradients_trained", "accuracies"):
        assert (run / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--activation", "relo"], "activation 'relo': no such activation; did you mean relu?"),
        (["--activation", "relu,tan"], "activation 'tan': no such activation; did you mean tanh?"),
        (["--depth", "0"], "depth 0: must be at least 1"),
        (["--width", "0"], "width 0: must be at least 1"),
        (["--steps", "0"], "steps 0: must be at least 1"),
        (["--lr", "0"], "lr 0.0: must be positive"),
        (["--lr", "-1"], "lr -1.0: must be at least 0"),
        (["--batch_size", "0"], "batch_size 0: must be at least 1"),
    ],
)
def test_bad_flag_ends_with_one_line_and_writes_nothing(refusal, flags, named):
    assert named in refusal(activations.main, *flags)
