"""Fused optimizers, which CPUs have too: the same steps as plain ones, states that fit both forms, and clipping."""

from copy import deepcopy

import pytest
import torch
from lightning.pytorch.plugins import MixedPrecision
from torch import nn
from torch.nn.utils import clip_grad_norm_, parameters_to_vector

from lit_modules import Classifier
from lit_modules.optimizers import OPTIMIZERS, build_optimizer

ALL = slice(None)
WITH_FUSED_FORM = ["sgd", "momentum", "nesterov", "adam", "adamw"]


def weights():
    draws = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=draws)) for shape in [(4, 3), (4,), (2, 4)]]


def build(name, params, fused):
    return build_optimizer(name, params, lr=0.1, weight_decay=0.01, fused=fused)


def descend(params, optimizer, steps, moving=ALL):
    """Each step has its own gradients, the same for all who call this; what does not move has none."""
    for step in steps:
        draws = torch.Generator().manual_seed(step)
        gradients = [torch.randn(param.shape, generator=draws) for param in params]
        optimizer.zero_grad()
        for param, gradient in list(zip(params, gradients, strict=True))[moving]:
            param.grad = gradient
        optimizer.step()
    return parameters_to_vector(params)


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_fused_steps_are_those_of_the_plain_form(name):
    plain, fused = weights(), weights()
    expected = descend(plain, build(name, plain, fused=False), range(4))
    optimizer = build(name, fused, fused=True)
    torch.testing.assert_close(descend(fused, optimizer, range(4)), expected, rtol=1e-5, atol=1e-6)
    assert bool(optimizer.param_groups[0].get("fused")) == (name in WITH_FUSED_FORM)


@pytest.mark.parametrize("name", WITH_FUSED_FORM)
@pytest.mark.parametrize("first", [True, False])
def test_a_run_goes_on_in_the_other_form(name, first):
    whole, cut = weights(), weights()
    expected = descend(whole, build(name, whole, fused=False), range(4))
    before = build(name, cut, fused=first)
    descend(cut, before, range(2))
    after = build(name, cut, fused=not first)
    saved = before.state_dict()
    groups = deepcopy(saved["param_groups"])
    after.load_state_dict(saved)
    torch.testing.assert_close(descend(cut, after, range(2, 4)), expected, rtol=1e-5, atol=1e-6)
    assert bool(after.param_groups[0]["fused"]) == (not first)
    assert saved["param_groups"] == groups  # the caller's stays as it was


@pytest.mark.parametrize("saved_by_fused", [True, False, None])
def test_weights_that_were_frozen_at_first_move_later(saved_by_fused):
    plain, fused = weights(), weights()
    before = build("sgd", plain, fused=False)
    descend(plain, before, range(2), moving=slice(2, 3))
    expected = descend(plain, before, range(2, 4))
    optimizer = build("sgd", fused, fused=bool(saved_by_fused) or saved_by_fused is None)
    descend(fused, optimizer, range(2), moving=slice(2, 3))
    if saved_by_fused is not None:
        state, optimizer = optimizer.state_dict(), build("sgd", fused, fused=True)
        optimizer.load_state_dict(state)
    torch.testing.assert_close(descend(fused, optimizer, range(2, 4)), expected, rtol=1e-5, atol=1e-6)


def test_state_in_another_order_of_memory_is_put_in_that_of_the_weights():
    """A kernel walks through all of a parameter's tensors in one order."""
    filters = torch.randn(4, 3, 2, 2)
    plain, inner_channels = nn.Parameter(filters), nn.Parameter(filters.to(memory_format=torch.channels_last))
    before = build("adam", [plain], fused=True)
    descend([plain], before, range(1))
    after = build("adam", [inner_channels], fused=True)
    after.load_state_dict(before.state_dict())
    for name in ("exp_avg", "exp_avg_sq"):
        assert after.state[inner_channels][name].stride() == inner_channels.stride()
        assert torch.equal(after.state[inner_channels][name], before.state[plain][name])


def test_state_of_another_number_of_groups_is_refused_by_torch():
    params = weights()
    state = build("sgd", params, fused=False).state_dict()
    with pytest.raises(ValueError, match="different number of parameter groups"):
        build("sgd", [{"params": params[:1]}, {"params": params[1:]}], fused=True).load_state_dict(state)


def test_lightning_clips_gradients_of_a_fused_optimizer():
    params = weights()
    optimizer = build("sgd", params, fused=True)
    for param in params:
        param.grad = torch.ones_like(param)
    MixedPrecision("bf16-mixed", "cuda").clip_gradients(optimizer, 0.5)
    norm = torch.cat([param.grad.flatten() for param in params]).norm()
    assert norm == pytest.approx(0.5, rel=1e-4)


def test_scaled_gradients_are_unscaled_before_they_are_clipped_and_a_fused_step_is_taken():
    def loss_of(params):
        return sum((param**2).sum() for param in params)

    plain, fused = weights(), weights()
    loss_of(plain).backward()
    clip_grad_norm_(plain, 1.0)
    build("adam", plain, fused=False).step()

    optimizer, scaler = build("adam", fused, fused=True), torch.amp.GradScaler("cpu", init_scale=2.0**10)
    scaler.scale(loss_of(fused)).backward()
    scaler.unscale_(optimizer)
    clip_grad_norm_(fused, 1.0)
    scaler.step(optimizer)
    torch.testing.assert_close(parameters_to_vector(fused), parameters_to_vector(plain), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("device", "fused"), [("cuda", True), ("cpu", True), ("meta", False)])
def test_modules_ask_for_the_fused_form_where_there_is_one(monkeypatch, device, fused):
    model = Classifier("softmax", (1, 28, 28), 10)
    monkeypatch.setattr(Classifier, "device", torch.device(device))
    assert bool(model.configure_optimizers().param_groups[0]["fused"]) == fused
