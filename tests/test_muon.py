"""Muon: against singular values, torch's own Muon for matrices and torch's Adam, and what it refuses."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parameters_to_vector

from lit_modules import Classifier, RowClassifier
from lit_modules.embedder import Embedder
from lit_modules.muon import BETAS, Muon, orthogonalize
from lit_modules.optimizers import build_optimizer

LR, DECAY = 0.02, 0.1


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(8, 8), (6, 40), (40, 6)])
def test_orthogonalize_keeps_singular_vectors_and_makes_values_alike(shape):
    matrix = random(*shape)
    u, _, vt = torch.linalg.svd(matrix, full_matrices=False)
    inner = u.T @ orthogonalize(matrix) @ vt.T  # diagonal where the singular vectors are the same
    values = inner.diagonal()
    assert ((values > 0.6) & (values < 1.25)).all()  # what the quintic aims at
    torch.testing.assert_close(inner, values.diag(), atol=1e-4, rtol=0)


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


def test_state_of_a_run_that_took_a_head_for_hidden_is_gone_on_from():
    param = nn.Parameter(random(3, 4))
    before = Muon([param], [param], lr=LR)
    descend([param], before, steps=1)
    after = Muon([param], [], lr=LR)
    after.load_state_dict(before.state_dict())
    descend([param], after, steps=1)
    assert param.isfinite().all()


@pytest.mark.parametrize("options", [{"lr": -1.0}, {"lr": float("nan")}, {"momentum": 1.0}, {"weight_decay": -0.1}])
def test_bad_option_is_named(options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=f"muon: {name} {value}"):
        build_optimizer("muon", [nn.Parameter(random(2, 2))], **{"lr": LR, **options})
