"""Muon, against singular values, the iteration as published, and torch's own Muon and Adam; and what it refuses."""

from copy import deepcopy

import pytest
import torch
from net_checks import blank
from torch import nn
from torch.nn.utils import parameters_to_vector

from lit_modules import Classifier, RowClassifier
from lit_modules.embedder import Embedder
from lit_modules.heads import hidden_matrices
from lit_modules.muon import BETAS, ON_GPU, Muon, Stack, matrix_shape, orthogonalize_, stacks
from lit_modules.nets import build_net, nets
from lit_modules.optimizers import build_optimizer

LR, DECAY = 0.02, 0.1


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def orthogonalized(*tensors):
    results = [tensor.clone() for tensor in tensors]  # which keeps the order in memory
    orthogonalize_(results)
    return results


@pytest.mark.parametrize("shape", [(8, 8), (6, 40), (40, 6)])
def test_orthogonalize_keeps_singular_vectors_and_makes_values_alike(shape):
    matrix = random(*shape)
    u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
    inner = u.T @ orthogonalized(matrix)[0] @ vt.T  # diagonal where the singular vectors are the same
    values = inner.diagonal()
    assert ((values > 0.6) & (values < 1.25)).all()  # what the quintic aims at
    torch.testing.assert_close(inner, values.diag(), atol=1e-4, rtol=0)


def jordan(matrix):
    """Jordan's iteration as he writes it, of one matrix, in float64."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.double() / matrix.double().norm()
    x = x.T if len(x) > len(x.T) else x
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if len(matrix) > len(matrix.T) else x


# Of these, the second is the first turned, the next three are near to it, and the last is alone.
SIZES = [(32, 70), (70, 32), (32, 69), (31, 70), (68, 31), (32, 70), (5, 9)]


def test_matrices_that_are_stacked_turned_and_padded_are_each_orthogonalised_by_the_book():
    matrices = [random(*size, seed=seed) for seed, size in enumerate(SIZES)]
    assert [len(stack.members) for stack in stacks(tuple(SIZES))] == [1, 6]
    for matrix, result in zip(matrices, orthogonalized(*matrices), strict=True):
        torch.testing.assert_close(result.double(), jordan(matrix), atol=1e-5, rtol=0)
        torch.testing.assert_close(result, orthogonalized(matrix)[0], atol=1e-5, rtol=0)  # as by itself


def test_filters_in_any_order_of_memory_are_orthogonalised_as_matrices():
    filters = random(6, 5, 2, 2)
    expected = jordan(filters.flatten(1)).view_as(filters)
    inner_channels = filters.contiguous(memory_format=torch.channels_last)
    for result in orthogonalized(filters, inner_channels, filters.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)):
        torch.testing.assert_close(result.double(), expected, atol=1e-5, rtol=0)


def test_matrix_of_zeros_stays_so():
    assert not orthogonalized(torch.zeros(3, 4))[0].any()


def test_matrices_of_near_shapes_are_stacked_and_of_others_not():
    # 32^2 (2 * 70 + 32) = 176,128 multiplications, and for 64 columns 163,840: padding costs 12,288, under 5 %.
    assert stacks(((32, 70), (64, 32))) == (Stack(32, 70, (1, 0)),)
    # For 50 columns it would be 135,168, and padding 40,960.
    assert stacks(((32, 70), (50, 32))) == (Stack(32, 50, (1,)), Stack(32, 70, (0,)))
    assert len(stacks(((32, 70), (50, 32)), least_budget=40_959)) == 2
    assert stacks(((32, 70), (50, 32)), least_budget=40_960) == (Stack(32, 70, (1, 0)),)


def test_a_gpu_multiplies_all_of_speednets_matrices_at_once():
    shapes = tuple(map(matrix_shape, hidden_matrices(build_net("speednet", (3, 32, 32), 10))))
    assert len(stacks(shapes, ON_GPU)) == 1 < len(stacks(shapes))


def descend(params, optimizer, steps=5):
    """Steps on the same random gradients for all who call this."""
    for step in range(steps):
        for number, param in enumerate(params):
            param.grad = random(*param.shape, seed=100 * number + step)
        optimizer.step()
    return params


def test_matrices_move_as_by_torchs_muon():
    ours, theirs = ([nn.Parameter(random(6, 20)), nn.Parameter(random(3, 6))] for _ in range(2))
    descend(ours, Muon(ours, ours[:1], lr=LR, momentum=0.9, weight_decay=DECAY))
    peer = torch.optim.Muon(theirs[:1], lr=LR, momentum=0.9, weight_decay=DECAY, adjust_lr_fn="match_rms_adamw")
    descend(theirs[:1], peer)
    moved, expected = ours[0] - random(6, 20), theirs[0] - random(6, 20)
    assert (moved - expected).norm() < 0.02 * expected.norm()  # torch's computes in bfloat16


def test_filters_count_as_matrices():
    matrix, filters = random(6, 20), random(6, 5, 2, 2)
    flat = [nn.Parameter(filters.flatten(1)), nn.Parameter(matrix)]
    whole = [nn.Parameter(filters), nn.Parameter(matrix)]
    for params in (flat, whole):
        optimizer = Muon(params, params[:1], lr=LR, weight_decay=DECAY)
        for step in range(3):
            params[0].grad = random(6, 20, seed=step).view_as(params[0])
            optimizer.step()
    torch.testing.assert_close(whole[0].flatten(1), flat[0])


def test_vectors_and_the_output_layer_move_as_by_adam():
    def parameters():
        return [
            nn.Parameter(random(4, 5)),
            nn.Parameter(random(4)),
            nn.Parameter(random(3, 4)),
            nn.Parameter(random(3)),
        ]

    ours, theirs = parameters(), parameters()
    descend(ours, Muon(ours, ours[:1], lr=LR, weight_decay=DECAY))
    descend(theirs, torch.optim.Adam(theirs, lr=LR, betas=BETAS))
    for mine, other in list(zip(ours, theirs, strict=True))[1:]:
        torch.testing.assert_close(mine, other)
    assert not torch.allclose(ours[0], theirs[0])


def test_update_of_a_hidden_weight_has_the_root_mean_square_of_adams():
    params = [nn.Parameter(torch.zeros(64, 32, 3, 3)), nn.Parameter(torch.zeros(10, 64))]
    descend(params, Muon(params, params[:1], lr=LR), steps=1)
    assert params[0].detach().square().mean().sqrt() == pytest.approx(0.2 * LR, rel=0.2)


def test_goes_on_from_its_state():
    whole, cut = ([nn.Parameter(random(4, 5)), nn.Parameter(random(3, 4))] for _ in range(2))
    descend(whole, Muon(whole, whole[:1], lr=LR), steps=2)
    first = Muon(cut, cut[:1], lr=LR)
    descend(cut, first, steps=1)
    second = Muon(cut, cut[:1], lr=LR)
    second.load_state_dict(first.state_dict())
    for number, param in enumerate(cut):
        param.grad = random(*param.shape, seed=100 * number + 1)
    second.step()
    assert torch.equal(parameters_to_vector(whole), parameters_to_vector(cut))


def test_groups_keep_their_own_learning_rate():
    hidden, head = nn.Parameter(random(4, 5)), nn.Parameter(random(3, 4))
    optimizer = build_optimizer("muon", [{"params": [hidden], "lr": 0.0}, {"params": [head]}], LR, hidden=[hidden])
    descend([hidden, head], optimizer)
    assert torch.equal(hidden, random(4, 5))
    assert not torch.equal(head, random(3, 4))


def test_passes_over_what_has_no_gradient():
    params = [nn.Parameter(random(4, 5)), nn.Parameter(random(3, 4))]
    params[1].grad = random(3, 4)
    Muon(params, params[:1], lr=LR, weight_decay=DECAY).step()
    assert torch.equal(params[0], random(4, 5))


LENET5 = ["features.0.weight", "features.3.weight", "classifier.0.weight", "classifier.2.weight"]
EMBEDDED = {"numbers": 2, "widths": [8, 8], "linear_path": True}


@pytest.mark.parametrize(
    ("model", "hidden"),
    [
        (RowClassifier("tabm", (5,), 3, net_args={"widths": [8, 8]}), ["hidden.0.weight", "hidden.3.weight"]),
        (
            RowClassifier("tabm", (5,), 3, net_args={"embedding": "periodic", **EMBEDDED}),
            ["embed.linear.weight", "hidden.0.weight", "hidden.3.weight"],
        ),
        (
            RowClassifier("tabm", (5,), 3, net_args={"embedding": "piecewise", "bins": 2 * [[0.0, 1.0]], **EMBEDDED}),
            ["hidden.0.weight", "hidden.3.weight"],
        ),
        (RowClassifier("linear", (5,), 3), []),
        (Classifier("lenet5", (1, 28, 28), 10), LENET5),
        (Embedder("mlp", (1, 28, 28), 10, loss="proxy_nca", net_args={"widths": [8]}), ["hidden.0.weight"]),
    ],
)  # fmt: skip
def test_only_matrices_between_hidden_layers_are_orthogonalised(model, hidden):
    model.hparams.optimizer = "muon"
    optimizer = model.configure_optimizers()
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    moved = {name for name, parameter in model.named_parameters() if "momentum" in optimizer.state[parameter]}
    assert moved == {f"net.{name}" for name in hidden}
    assert {name for name, parameter in model.named_parameters() if "square" in optimizer.state[parameter]} == {
        name for name, _ in model.named_parameters()
    } - moved


@pytest.mark.parametrize("name", sorted(set(nets()) - {"tabm"}))  # which is above
def test_hidden_matrices_of_a_net_are_all_its_matrices_but_the_last(name):
    net = blank(name, 3, 32, 32)
    *matrices, _ = [parameter for parameter in net.parameters() if parameter.ndim > 1]
    assert {id(matrix) for matrix in hidden_matrices(net)} == {id(matrix) for matrix in matrices}


def test_state_of_a_run_that_took_a_head_for_hidden_is_gone_on_from():
    param = nn.Parameter(random(3, 4))
    before = Muon([param], [param], lr=LR)
    descend([param], before, steps=1)
    after = Muon([param], [], lr=LR)
    after.load_state_dict(before.state_dict())
    descend([param], after, steps=1)
    assert param.isfinite().all()


def test_goes_on_from_the_state_that_runs_have_saved():
    """As it was laid out before matrices were stacked."""
    params = [nn.Parameter(random(4, 5)), nn.Parameter(random(3))]
    gradients = [random(4, 5, seed=1), random(3, seed=2)]
    momentum, mean, square = random(4, 5, seed=3), random(3, seed=4), random(3, seed=5).square()
    group = {"lr": LR, "momentum": 0.9, "weight_decay": DECAY, "params": [0, 1]}
    state = {0: {"momentum": momentum}, 1: {"step": 6, "mean": mean, "square": square}}
    optimizer = Muon(params, params[:1], lr=1.0)
    optimizer.load_state_dict({"state": deepcopy(state), "param_groups": [group]})  # it keeps the tensors
    for param, gradient in zip(params, gradients, strict=True):
        param.grad = gradient
    optimizer.step()

    after = 0.9 * momentum + 0.1 * gradients[0]
    update = jordan(0.9 * after + 0.1 * gradients[0]).float() * 0.2 * 5**0.5
    torch.testing.assert_close(params[0].detach(), random(4, 5) * (1 - LR * DECAY) - LR * update)
    mean, square = 0.9 * mean + 0.1 * gradients[1], 0.95 * square + 0.05 * gradients[1] ** 2
    update = mean / (1 - 0.9**7) / ((square / (1 - 0.95**7)).sqrt() + 1e-8)
    torch.testing.assert_close(params[1].detach(), random(3) - LR * update)
    assert {key: set(values) for key, values in optimizer.state_dict()["state"].items()} == {
        key: set(values) for key, values in state.items()
    }


@pytest.mark.parametrize("options", [{"lr": -1.0}, {"lr": float("nan")}, {"momentum": 1.0}, {"weight_decay": -0.1}])
def test_bad_option_is_named(options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=f"muon: {name} {value}"):
        build_optimizer("muon", [nn.Parameter(random(2, 2))], **{"lr": LR, **options})
