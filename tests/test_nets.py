"""Networks found by name, with full tests of those in one short file; larger families have their own tests."""

import inspect
import math
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from net_checks import SHAPES, assert_trains, blank, count
from torch import nn
from torch.overrides import TorchFunctionMode

import lit_modules.nets as package
from lit_modules.nets import build_net, member_outputs, nets
from lit_modules.nets.mlp import ACTIVATIONS, MLP
from lit_modules.nets.speednet import Whitening

COLOUR, GREY = SHAPES
SMALL = ["softmax", "lenet5", "mlp", "cnn"]


@pytest.mark.parametrize(
    ("name", "shape", "size"),
    [
        ("softmax", GREY, 7_850),  # 10 * (784 + 1)
        ("softmax", COLOUR, 30_730),  # 10 * (3072 + 1)
        ("lenet5", GREY, 61_706),  # 6*(25+1) + 16*(6*25+1) + 120*(400+1) + 84*(120+1) + 10*(84+1)
        ("lenet5", COLOUR, 62_006),  # C1 sees two channels more: 6 * 2 * 25
        ("mlp", GREY, 535_818),  # 512*(784+1) + 256*(512+1) + 10*(256+1)
        # Convolutions 32*25 and 64*32*25, linear 256*64*5*5, all without bias; BatchNorms 2*(32+64+256); 10*(256+1)
        ("cnn", GREY, 464_874),
    ],
)
def test_size_is_the_sum_over_layers(name, shape, size):
    assert count(name, *shape) == size


def test_cnn_without_batch_norm_has_biases_in_its_place():
    net = build_net("cnn", COLOUR, 10, widths=(8, 16, 64), batch_norm=False)
    sizes = [p.numel() for p in net.parameters()]
    assert sizes == [8 * 3 * 25, 8, 16 * 8 * 25, 16, 64 * 16 * 6 * 6, 64, 10 * 64, 10]


@pytest.mark.parametrize("name", sorted(nets()))
@pytest.mark.parametrize("shape", SHAPES)
def test_every_net_gives_logits_for_any_number_of_images(name, shape):
    net = blank(name, *shape).eval()
    assert net(torch.empty(3, *shape, device="meta")).shape == (3, 10)
    net = net.to_empty(device="cpu")  # a rank's last batch may be empty, which needs the kernels themselves
    assert net(torch.empty(0, *shape)).shape == (0, 10)


class HalfNorms(TorchFunctionMode):
    """Notes the norms that learn a scale or a shift without the other, which CUDA has no gradient for."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (F.batch_norm, F.instance_norm, F.group_norm, F.layer_norm):
            given = inspect.signature(function).bind(*args, **(kwargs or {})).arguments
            if (given.get("weight") is None) != (given.get("bias") is None):
                self.found.append(function.__name__)
        return function(*args, **(kwargs or {}))


EMBEDDED = {"numbers": 2, "linear_path": True}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in sorted(nets())),
        ("speednet", {"residual": True}),
        *(("resnet18", {"norm": norm}) for norm in ("layer", "instance", "group")),
        *(("mlp", {"norm": norm}) for norm in ("batch", "layer")),
        ("tabm", {"embedding": "periodic", **EMBEDDED}),
        ("tabm", {"embedding": "piecewise", "bins": [[0.0, 1.0, 2.0], [0.0, 1.0]], **EMBEDDED}),
    ],
)
def test_every_net_learns_on_another_device_than_the_cpu(name, options):
    """The device is torch's meta device, which refuses what mixes with tensors of the CPU."""
    net = blank(name, *COLOUR, **options)
    for module in net.modules():
        if isinstance(module, Whitening):
            module.fitted = True  # as after the first batch, for no values can be looked at
    with HalfNorms() as norms:
        outputs = member_outputs(net, torch.empty(3, *COLOUR, device="meta"))
    outputs.sum().backward()
    assert norms.found == []
    assert all(parameter.grad.is_meta for parameter in net.parameters())


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_parameter_trains(name, shape):
    torch.manual_seed(0)
    assert_trains(build_net(name, shape, 7), shape, 7, batch_size=8)


@pytest.mark.parametrize("name", SMALL)
def test_evaluation_treats_each_image_alone(name):
    torch.manual_seed(0)
    net, images = build_net(name, GREY, 10).eval(), torch.randn(4, *GREY)
    with torch.no_grad():
        together, alone = net(images), torch.cat([net(image[None]) for image in images])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options"), [("cnn", {}), ("mlp", {"dropout": 0.5}), ("mlp", {"dropout": 0.5, "activation": "selu"})]
)
def test_dropout_draws_in_training_only(name, options):
    torch.manual_seed(0)
    net, images = build_net(name, GREY, 10, **options), torch.randn(4, *GREY)
    assert not torch.equal(net(images), net(images))
    net.eval()
    assert torch.equal(net(images), net(images))


@pytest.mark.parametrize("shape", [(1, 30, 30), (1, 28, 32), (3, 64, 64)])
def test_lenet5_refuses_other_sizes(shape):
    with pytest.raises(ValueError, match=f"lenet5.*not {shape[1]} x {shape[2]}"):
        build_net("lenet5", shape, 10)


HE, GLOROT, LECUN = 2 / 784, 2 / (784 + 512), 1 / 784  # variances of weights from 784 inputs to 512 units


@pytest.mark.parametrize(
    ("activation", "variance"),
    [
        ("relu", HE),
        ("leaky_relu", HE),
        ("elu", HE),
        ("selu", LECUN),
        ("softplus", HE),
        ("sigmoid", GLOROT),
        ("tanh", GLOROT),
        ("silu", HE),
        ("gelu", HE),
        ("identity", LECUN),
    ],
)
def test_mlp_weights_start_with_the_spread_that_suits_the_activation(activation, variance):
    torch.manual_seed(0)
    net = MLP(GREY, 100, widths=(512,), activation=activation)
    first, last = (layer for layer in net.modules() if isinstance(layer, nn.Linear))
    assert first.weight.std().item() == pytest.approx(math.sqrt(variance), rel=0.01)
    assert last.weight.std().item() == pytest.approx(math.sqrt(1 / 512), rel=0.02)  # logits of variance 1
    assert not first.bias.any()
    assert not last.bias.any()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_mlp_applies_the_activation_it_is_told(activation):
    net = MLP((1, 1, 5), 5, widths=(5,), activation=activation)
    for weight in (p for p in net.parameters() if p.ndim == 2):
        nn.init.eye_(weight)
    x = torch.tensor([[-3.0, -0.5, 0.0, 0.5, 3.0]])
    expected = x if activation == "identity" else getattr(F, activation)(x)
    torch.testing.assert_close(net(x.view(1, 1, 1, 5)), expected)


@pytest.mark.parametrize("activation", ["relu", "selu"])
def test_deep_mlp_keeps_the_variance_of_its_activations(activation):
    torch.manual_seed(0)
    net, variances = MLP((1, 16, 16), 10, widths=[256] * 10, activation=activation), []
    for layer in net.hidden:
        if not isinstance(layer, nn.Linear):
            layer.register_forward_hook(lambda layer, inputs, output: variances.append(output.var().item()))
    net(torch.randn(1000, 1, 16, 16))
    assert len(variances) == 10
    assert all(1 / 3 < variance < 3 for variance in variances), variances


@pytest.mark.parametrize(("activation", "kind"), [("relu", nn.Dropout), ("selu", nn.AlphaDropout)])
def test_mlp_drops_after_each_hidden_layer_as_the_activation_needs(activation, kind):
    net = MLP(GREY, 10, widths=(8, 8, 8), activation=activation, dropout=0.25)
    assert [layer.p for layer in net.modules() if type(layer) is kind] == [0.25] * 3


INITS = {"he": 2 / 784, "xavier": 2 / (784 + 512), "lecun": 1 / 784, "default": 1 / (3 * 784)}  # U(-a, a): a^2 / 3


@pytest.mark.parametrize(("init", "variance"), INITS.items())
def test_mlp_init_is_the_one_asked_for(init, variance):
    torch.manual_seed(0)
    first = MLP(GREY, 10, widths=(512,), activation="tanh", init=init).hidden[0]
    assert first.weight.std().item() == pytest.approx(math.sqrt(variance), rel=0.01)
    assert bool(first.bias.any()) == (init == "default")


@pytest.mark.parametrize(
    ("options", "layers"),
    [
        ({"norm": "batch"}, [nn.Linear, nn.BatchNorm1d, nn.ReLU]),
        ({"norm": "layer"}, [nn.Linear, nn.LayerNorm, nn.ReLU]),
        ({"norm": "batch", "dropout": 0.5}, [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Dropout]),
    ],
)
def test_mlp_normalises_before_each_activation(options, layers):
    net = MLP(GREY, 10, widths=(8, 8), **options)
    assert [type(layer) for layer in net.hidden] == 2 * layers


def test_mlp_residual_adds_the_input_where_widths_agree():
    torch.manual_seed(0)
    net = MLP((1, 1, 5), 3, widths=(4, 4), residual=True)
    first, activate, block = net.hidden
    x = torch.randn(6, 1, 1, 5)
    h = activate(first(x.flatten(1)))  # 5 -> 4: nothing to add to
    torch.testing.assert_close(net(x), net.output(h + F.relu(block[0](h))))


@pytest.mark.parametrize("options", [{"norm": "layer"}, {"residual": True}, {"init": "default"}])
def test_mlp_with_its_options_trains_every_parameter(options):
    torch.manual_seed(0)
    assert_trains(build_net("mlp", GREY, 7, widths=(16, 16), **options), GREY, 7, batch_size=8)


def test_unknown_net_lists_all_and_the_nearest():
    with pytest.raises(ValueError, match=r"'lenet6'.*did you mean lenet5") as error:
        build_net("lenet6", GREY, 10)
    assert all(name in str(error.value) for name in nets())


@pytest.mark.parametrize(
    ("name", "options", "named"),
    [
        ("softmax", {"depth": 3}, "'depth'.*softmax"),
        ("mlp", {"width": 3}, "'width'.*it has widths, activation, dropout"),
        ("mlp", {"activation": "rellu"}, "'rellu'.*did you mean relu"),
        ("mlp", {"init": "xaver"}, "init 'xaver'.*did you mean xavier"),
        ("mlp", {"norm": "bach"}, "norm 'bach'.*did you mean batch"),
        ("mlp", {"widths": (8, 0)}, r"widths \[8, 0\]"),
        ("mlp", {"dropout": 1.0}, r"dropout 1\.0"),
        ("mlp", {"dropout": -0.1}, r"dropout -0\.1"),
    ],
)
def test_wrong_option_is_named(name, options, named):
    with pytest.raises(ValueError, match=named):
        build_net(name, GREY, 10, **options)


@pytest.mark.parametrize(
    ("name", "options", "named"),
    [
        ("mlp", {"widths": 300}, r"net_args\.widths 300: mlp expects a list, such as \[512, 256\]"),
        ("mlp", {"widths": [300, 1.5]}, r"net_args\.widths \[300, 1\.5\]"),
        ("mlp", {"widths": "300"}, r"net_args\.widths 300"),
        ("mlp", {"dropout": "high"}, r"net_args\.dropout high: mlp expects a number, such as 0\.0"),
        ("mlp", {"dropout": True}, r"net_args\.dropout True"),
        ("mlp", {"dropout": math.nan}, r"net_args\.dropout nan"),
        ("mlp", {"residual": 1}, r"net_args\.residual 1: mlp expects true or false"),
        ("mlp", {"norm": 3}, r"net_args\.norm 3: mlp expects a name or null"),
        ("cnn", {"widths": [8, 16]}, r"net_args\.widths \[8, 16\]: cnn expects a list of 3, such as \[32, 64, 256\]"),
        ("cnn", {"widths": [0, 16, 64]}, r"net_args\.widths \[0, 16, 64\]: must be at least 1"),
        ("cnn", {"dropout": 1.5}, r"net_args\.dropout 1\.5"),
        ("speednet", {"widths": [64, 64]}, r"net_args\.widths \[64, 64\]"),
        ("speednet", {"widths": [[8, 8], [8, -1]]}, r"net_args\.widths \[\[8, 8\], \[8, -1\]\]: must be at least 1"),
        ("googlenet", {"dropout": 2}, r"net_args\.dropout 2"),
        ("tabm", {"size": 0}, r"net_args\.size 0: must be at least 1"),
        ("imagenet", {"size": 64.5}, r"net_args\.size 64\.5: imagenet expects a whole number"),
    ],
)
def test_option_of_another_type_or_out_of_range_is_named(name, options, named):
    with pytest.raises(ValueError, match=named):
        build_net(name, GREY, 10, **options)


def test_whole_number_and_tuple_are_what_number_and_list_mean():
    net = build_net("mlp", GREY, 10, dropout=0, widths=(np.int64(8), 4))
    assert [layer.out_features for layer in net.modules() if isinstance(layer, nn.Linear)] == [8, 4, 10]


@pytest.fixture
def bring(tmp_path, monkeypatch):
    """Puts a file of this content beside those of the networks, for one test."""
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    monkeypatch.setattr(package, "_files", cache(package._files.__wrapped__))  # an empty cache

    def write(text, name):
        (tmp_path / f"{name}.py").write_text(text)

    return write


PIXEL = (
    "from torch import nn\n"
    "__all__ = ['Pixel']\n"
    "def Pixel(input_shape, num_outputs, bias=True):\n"
    "    return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_outputs, bias))\n"
)


def test_new_file_is_a_new_net_whose_lazy_layers_have_their_sizes(bring):
    bring(PIXEL, "brought_by_a_test")
    net = build_net("pixel", (1, 2, 2), 3, bias=False)
    assert [tuple(p.shape) for p in net.parameters()] == [(3, 4)]
    assert net.training
    assert net(torch.zeros(5, 1, 2, 2)).shape == (5, 3)
    assert {"pixel", *SMALL} < set(nets())


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (PIXEL.replace("'Pixel']", "'Pixel'"), "line 2: SyntaxError"),
        (PIXEL.replace("__all__", "all_nets"), "has no __all__"),
        (PIXEL.replace("['Pixel", "['Voxel"), "has no 'Voxel'"),
        ("import nothing_of_this_name\n" + PIXEL, "line 1: ModuleNotFoundError"),
        (PIXEL + "Pixel.size = 1 / 0\n", "line 5: ZeroDivisionError"),
    ],
)
def test_file_that_cannot_be_read_is_named_where_it_is_asked_for_and_spoils_no_other(bring, tmp_path, text, fault):
    name = f"spoilt_{abs(hash(text))}"  # Python keeps a module that it has imported
    bring(text, name)
    assert build_net("softmax", GREY, 10)
    for asked in ("pixel", "Pixel", name):
        with pytest.raises(ValueError, match=rf"net '{asked}': {tmp_path / name}\.py.*{fault}"):
            build_net(asked, GREY, 10)
    with pytest.raises(ValueError, match="'lenet6': no such net; did you mean lenet5"):
        build_net("lenet6", GREY, 10)
