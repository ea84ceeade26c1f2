"""TabM, against as many separate MLPs, and its embeddings, against their definitions."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from net_checks import assert_trains

from lit_modules.nets import build_net, member_outputs
from lit_modules.nets.dropout import Dropout
from lit_modules.nets.tabm import Periodic, PiecewiseLinear, piecewise

MANY_EDGES = [float(edge) for edge in range(21)]


def tabm(inputs=7, outputs=2, **options):
    torch.manual_seed(0)
    return build_net("tabm", (inputs,), outputs, **{"size": 5, "widths": [6, 4], "dropout": 0.0, **options})


def randomised(net):
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter)
    return net


@torch.no_grad()
def test_each_member_is_an_mlp_of_its_own():
    net, x = randomised(tabm()), torch.randn(3, 7)
    first, second = net.hidden[0], net.hidden[3]
    for member in range(5):
        h = x
        for layer in (first, second):  # diag(scale_out) W diag(scale_in) is one plain matrix
            weight = layer.scale_out[member].diag() @ layer.weight @ layer.scale_in[member].diag()
            h = F.relu(F.linear(h, weight, layer.bias[member]))
        expected = h @ net.heads[member] + net.head_bias[member]
        torch.testing.assert_close(net(x, each=True)[:, member], expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(net(x), net(x, each=True).mean(1))


@torch.no_grad()
def test_members_start_differently_and_share_the_linear_path():
    net, x = tabm(linear_path=True), torch.randn(3, 7)
    before = net(x, each=True)
    assert before.std(dim=1).min() > 1e-3
    torch.nn.init.normal_(net.linear.weight)
    added = (net(x, each=True) - before).permute(1, 0, 2)  # (members, B, outputs)
    torch.testing.assert_close(added, (x @ net.linear.weight.T).expand_as(added), rtol=1e-4, atol=1e-5)


def test_size_is_the_sum_over_layers():
    # Shared 7*6 + 6*4; of each of 5 members: 7+6+6 and 6+4+4 of vectors, a head of 4*2+2; a linear path of 7*2+2
    assert sum(p.numel() for p in tabm(linear_path=True).parameters()) == 42 + 24 + 5 * (19 + 14 + 10) + 16


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"linear_path": True, "activation": "silu"},
        {"embedding": "piecewise", "numbers": 2, "bins": [[-3.0, 0.0, 3.0], [-2.0, 2.0]]},
        {"embedding": "piecewise", "numbers": 2, "bins": [[-3.0, 0.0, 3.0], [-2.0, 2.0]], "curves": True},
        {"embedding": "piecewise", "numbers": 3, "bins": [[-3.0, 0.0], MANY_EDGES, [-2.0, 2.0]], "curves": True},
        {"embedding": "periodic", "numbers": 3},
        {"squeeze": 2, "linear_path": True},
    ],
)
def test_every_parameter_trains(options):
    options = {"size": 3, "widths": [16, 16], **options}
    assert_trains(tabm(**options), (7,), 2, batch_size=64)


def test_piecewise_encoding_by_hand():
    layer = PiecewiseLinear([[0.0, 1.0, 3.0], [-1.0, 1.0], [5.0]], size=4)
    x = torch.tensor([[0.5, -1.0, 5.0], [2.0, 0.0, 9.0], [-1.0, 3.0, 0.0], [5.0, 1.0, 5.0]])
    expected = [
        [[0.5, 0.0], [0.0, 0.0], [0.0, 0.0]],
        [[1.0, 0.5], [0.5, 0.0], [0.0, 0.0]],
        [[-1.0, 0.0], [2.0, 0.0], [0.0, 0.0]],  # the first and the last bin go on beyond their edges
        [[1.0, 2.0], [1.0, 0.0], [0.0, 0.0]],
    ]
    torch.testing.assert_close(layer.encode(x), torch.tensor(expected))
    assert layer(x).shape == (4, 3, 4)


def test_piecewise_encoding_adds_up_to_numpys_interpolation():
    edges = torch.tensor([-2.0, -0.5, 0.1, 4.0])
    layer, x, heights = PiecewiseLinear([edges.tolist()], size=1), torch.linspace(-2, 4, 50), torch.randn(4)
    values = heights[0] + layer.encode(x[:, None])[:, 0] @ heights.diff()
    np.testing.assert_allclose(values.numpy(), np.interp(x, edges, heights), atol=1e-5)


@torch.no_grad()
def test_numbers_of_many_bins_are_embedded_as_alone():
    bins = [[-1.0, 0.0, 1.0], MANY_EDGES, [0.0, 2.0]]
    torch.manual_seed(0)
    together, x = piecewise(bins, 4), torch.randn(6, 3)
    few, many = together.parts
    assert few.weight.shape == (2, 2, 4)
    assert many.weight.shape == (1, 20, 4)
    expected = torch.cat([few(x[:, [0, 2]]), many(x[:, [1]])], dim=1)
    torch.testing.assert_close(together(x), expected)
    assert isinstance(piecewise([bins[0], bins[2]], 4), PiecewiseLinear)


@torch.no_grad()
def test_curves_add_a_function_of_each_number():
    bins, heights = [[-1.0, 0.0, 1.0], [0.0, 2.0]], [torch.randn(3), torch.randn(2)]
    net, x = tabm(embedding="piecewise", numbers=2, bins=bins, curves=True).eval(), torch.rand(20, 7)
    before = net(x)
    for number, its in enumerate(heights):
        net.curves.weight[number, : len(its) - 1] = its.diff()[:, None]
    added = [np.interp(x[:, number], bins[number], its) - float(its[0]) for number, its in enumerate(heights)]
    np.testing.assert_allclose((net(x) - before).numpy(), np.transpose([sum(added)] * 2), atol=1e-5)


def test_dropout_zeroes_its_share_and_scales_the_rest():
    torch.manual_seed(0)
    layer, x = Dropout(0.3), torch.randn(333, 301, requires_grad=True)
    y = layer(x)
    kept = y != 0
    assert float((~kept).double().mean()) == pytest.approx(0.3, abs=3 * (0.3 * 0.7 / x.numel()) ** 0.5)
    torch.testing.assert_close(y[kept], x[kept] / 0.7)
    y.sum().backward()
    torch.testing.assert_close(x.grad, kept / 0.7)
    pairs = kept.double() - 0.7  # neighbours are independent: their correlation is below 4 standard errors
    assert abs(float((pairs[:, 1:] * pairs[:, :-1]).mean()) / 0.21) < 4 / x.numel() ** 0.5
    for dtype in (torch.bfloat16, torch.float64):
        assert layer(torch.ones(9, dtype=dtype)).dtype == dtype
    assert torch.equal(layer.eval()(x), x)


@torch.no_grad()
def test_many_inputs_are_squeezed_for_all_members():
    net, x = tabm(squeeze=3).eval(), torch.randn(4, 7)
    assert net.squeeze.weight.shape == (3, 7)
    inner = tabm(inputs=3).eval()
    inner.load_state_dict({name: its for name, its in net.state_dict().items() if not name.startswith("squeeze")})
    torch.testing.assert_close(net(x), inner(x @ net.squeeze.weight.T))
    assert tabm(squeeze=4).squeeze is None


@torch.no_grad()
def test_periodic_is_periodic():
    torch.manual_seed(0)
    layer = Periodic(2, 3, frequency=1.0)
    layer.frequencies.copy_(torch.arange(1, 17).expand(2, 16))  # whole numbers: the period is 1
    x = torch.rand(5, 2)
    torch.testing.assert_close(layer(x), layer(x + 1), rtol=1e-3, atol=1e-4)
    assert not torch.allclose(layer(x), layer(x + 0.3), atol=1e-2)


def test_a_network_that_is_no_ensemble_is_its_only_member():
    net, x = build_net("linear", (4,), 3), torch.randn(2, 4)
    assert torch.equal(member_outputs(net, x), net(x)[:, None])


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"size": 0}, "size 0"),
        ({"widths": []}, "widths"),
        ({"dropout": 1.0}, "dropout 1.0"),
        ({"numbers": 8}, "numbers 8"),
        ({"embedding": "piecewise"}, "numbers"),
        ({"embedding": "piecewise", "numbers": 2, "bins": [[0.0, 1.0]]}, "bins"),
        ({"embedding": "periodical", "numbers": 2}, "did you mean periodic"),
        ({"embedding": "periodic", "numbers": 2, "frequency": 0.0}, "frequency"),
        ({"embedding": "periodic", "numbers": 2, "curves": True}, "curves, embedding periodic"),
        ({"embedding": "none", "numbers": 2, "curves": True}, "curves, embedding none"),
    ],
)
def test_mistaken_option_is_named(options, named):
    with pytest.raises(ValueError, match=named):
        tabm(**options)
