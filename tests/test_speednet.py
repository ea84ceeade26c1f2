"""SpeedNet: its size against a count by hand, its whitening against the definition, and reloading."""

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Trainer
from net_checks import SHAPES, assert_trains
from test_finite import Spoil
from torch import nn

from callbacks import FiniteGuard
from datamodules import MNIST
from lit_modules import Classifier
from lit_modules.nets import build_net
from lit_modules.nets.speednet import WHITENING_EPS, Norm, Whitening


def correlated(batch, channels, seed=0):
    """Images whose neighbouring pixels and channels go together, as in photographs."""
    images = torch.randn(batch, channels, 17, 17, generator=torch.Generator().manual_seed(seed))
    smooth = F.avg_pool2d(images, 2, stride=1)  # (B, C, 16, 16)
    return smooth + smooth.mean(1, keepdim=True)


@pytest.mark.parametrize("shape", SHAPES)
def test_size_is_the_sum_over_layers(shape):
    first = 2 * 4 * shape[0]  # outputs of the whitening, whose weights do not learn, but its biases do
    count = first
    for inputs, middle, outputs in [(first, 64, 64), (64, 128, 256), (256, 256, 256)]:
        count += 9 * inputs * middle + 9 * middle * outputs + middle + outputs  # two convolutions, two shifts
    assert sum(p.numel() for p in build_net("speednet", shape, 10).parameters()) == count + 256 * 10


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("options", [{}, {"residual": True}, {"whitening_bias": False}])
def test_every_parameter_learns(shape, options):
    assert_trains(build_net("speednet", shape, 10, **options), shape, 10)


def test_whitening_without_a_bias_leaves_nothing_to_learn_there():
    net = build_net("speednet", SHAPES[0], 10, whitening_bias=False)
    assert [name for name, _ in net.named_parameters() if name.startswith("whitening")] == []


@pytest.mark.parametrize("training", [True, False])
def test_norm_is_batch_norm_whose_scale_stays_1(training):
    torch.manual_seed(0)
    ours, peer, x = Norm(5).train(training), nn.BatchNorm2d(5).train(training), 3 * torch.randn(4, 5, 6, 6) + 1
    for norm in (ours, peer):
        norm.bias.data.copy_(torch.arange(5.0))
        norm.running_var.fill_(2.0)
    for norm in (ours, peer):
        norm(x).square().mul(x).sum().backward()  # a plain sum has no gradient through BatchNorm
    torch.testing.assert_close(ours(x), peer(x))
    torch.testing.assert_close(ours.bias.grad, peer.bias.grad)
    assert len(list(ours.parameters())) == 1 and ours.scale.tolist() == [1.0] * 5
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        torch.testing.assert_close(getattr(ours, name), getattr(peer, name))


def test_checkpoints_hold_of_a_norm_what_they_always_did():
    kept = ["bias", "running_mean", "running_var", "num_batches_tracked"]
    net = build_net("speednet", (3, 32, 32), 10)
    assert [name for name in net.state_dict() if name.startswith("stages.0.2.")] == [f"stages.0.2.{k}" for k in kept]
    synchronised = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    assert isinstance(synchronised.stages[0][2], nn.SyncBatchNorm)
    build_net("speednet", (3, 32, 32), 10).load_state_dict(synchronised.state_dict())


def test_residual_convolution_adds_to_what_it_gets():
    torch.manual_seed(0)
    with_it, without = (build_net("speednet", (3, 32, 32), 10, residual=residual).eval() for residual in (True, False))
    missing, added = without.load_state_dict(with_it.state_dict(), strict=False)
    assert not missing
    assert sum(name.endswith("weight") for name in added) == 1
    features = torch.randn(2, 256, 3, 3)
    # An identity at first, and BatchNorm has seen nothing yet: x + GELU(x)
    rest = with_it.stages[-1](features) - features
    torch.testing.assert_close(rest, F.gelu(features / (1 + 1e-5) ** 0.5), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_whitened_patches_are_uncorrelated_and_of_unit_variance(channels):
    images = 10 * correlated(64, channels)
    outputs = Whitening(channels).train()(images)  # (64, 8C, 15, 15)
    half = outputs[:, : 4 * channels].transpose(0, 1).flatten(1)  # (4C, N)
    assert torch.equal(outputs[:, 4 * channels :], -outputs[:, : 4 * channels])
    raw = torch.cov(F.unfold(images, 2).transpose(0, 1).flatten(1))
    smallest = torch.linalg.eigvalsh(raw).min()
    assert smallest > 10 * WHITENING_EPS  # so that the epsilon hardly counts
    torch.testing.assert_close(torch.cov(half), torch.eye(4 * channels), atol=0.1, rtol=0)
    assert not torch.allclose(raw, torch.eye(4 * channels), atol=0.3)  # as they were before


def test_whitening_leaves_variances_that_epsilon_dwarfs_as_small_as_they_are():
    outputs = build_net("speednet", (3, 17, 17), 10, whitening_eps=1e6).whitening.train()(correlated(64, 3))
    raw = F.unfold(correlated(64, 3), 2).transpose(0, 1).flatten(1)  # (12, N)
    half = outputs[:, :12].transpose(0, 1).flatten(1)
    torch.testing.assert_close(torch.cov(half).trace(), torch.cov(raw).trace() / 1e6, rtol=1e-3, atol=0)


@pytest.mark.parametrize("momentum", [0.4, 1.0])
def test_momentum_is_what_a_batch_adds_to_each_norms_statistics(momentum):
    net = build_net("speednet", (3, 32, 32), 10, residual=True, norm_momentum=momentum).train()
    norms = [module for module in net.modules() if isinstance(module, Norm)]
    seen = []
    for norm in norms:
        norm.register_forward_pre_hook(lambda norm, inputs: seen.append(inputs[0].mean((0, 2, 3))))
    net(torch.randn(4, 3, 32, 32))
    assert len(seen) == len(norms) == 7
    for norm, mean in zip(norms, seen, strict=True):
        torch.testing.assert_close(norm.running_mean, momentum * mean)  # which was 0 before


@pytest.mark.parametrize("options", [{"norm_momentum": 0.0}, {"norm_momentum": 1.5}, {"whitening_eps": 0.0}])
def test_options_out_of_range_are_refused_by_name(options):
    (name,) = options
    with pytest.raises(ValueError, match=f"net_args {name}"):
        build_net("speednet", (3, 32, 32), 10, **options)


def test_whitening_is_fitted_to_the_first_training_batch_only():
    layer = Whitening(3)
    layer.eval()(correlated(8, 3))
    assert not layer.weight.any()
    layer.train()(correlated(8, 3))
    fitted = layer.weight.clone()
    layer(5 * correlated(8, 3, seed=1))
    assert torch.equal(layer.weight, fitted)


def test_whitening_from_a_checkpoint_stays():
    source, target = Whitening(3), Whitening(3)
    source(correlated(8, 3))
    target.load_state_dict(source.state_dict())
    target.train()(5 * correlated(8, 3, seed=1))
    assert torch.equal(target.weight, source.weight)


@pytest.mark.parametrize(("what", "batches"), [("gradient", (0,)), ("loss", (0, 1, 2)), ("input", (0,))])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_whitening_waits_for_a_step_that_stands(what, batches, accumulate):
    flags = dict(accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, enable_model_summary=False)
    flags |= dict(enable_checkpointing=False, max_epochs=1, limit_train_batches=6, limit_val_batches=0)
    guard, small = FiniteGuard("skip"), {"widths": ((4, 4), (4, 4))}
    trainer = Trainer(**flags, callbacks=[Spoil(what, batches), guard], accumulate_grad_batches=accumulate)
    trainer.fit(model := Classifier("speednet", (1, 28, 28), 10, net_args=small), MNIST(sample=True, batch_size=32))
    assert guard.skipped == -(-len(batches) // accumulate)
    assert model.net.whitening.weight.any()
    assert all(value.isfinite().all() for value in model.state_dict().values())


def test_whitening_is_fitted_while_only_the_head_learns():
    flags = dict(accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, enable_model_summary=False)
    trainer = Trainer(**flags, enable_checkpointing=False, max_epochs=1, limit_train_batches=2, limit_val_batches=1)
    model = Classifier("speednet", (1, 28, 28), 10, net_args={"widths": ((4, 4), (4, 4))}, freeze_epochs=1)
    trainer.fit(model, MNIST(sample=True, batch_size=32))
    assert model.net.whitening.weight.any()
    logits = model.eval()(torch.rand(2, 1, 28, 28))
    assert not torch.equal(logits[0], logits[1])  # as they are if it makes zeros of everything


def test_whitening_is_not_rounded_under_autocast():
    plain, cast = Whitening(3), Whitening(3)
    plain(correlated(32, 3))
    with torch.autocast("cpu", torch.bfloat16):
        cast(correlated(32, 3))
    torch.testing.assert_close(cast.weight, plain.weight)


def test_convolutions_begin_by_passing_on_their_input():
    convolution = build_net("speednet", (3, 32, 32), 10).stages[0][4]  # 64 -> 64
    x = torch.randn(2, 64, 5, 5)
    torch.testing.assert_close(convolution(x), x)
