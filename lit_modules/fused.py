"""Fused forms of torch's optimizers, which take the step of all parameters in one kernel, and what these need.

The state of an optimizer says in which form it was saved. A run that continues on another kind of device uses the form
that suits that one.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Adam, AdamW, Optimizer

from basics.torch_internals import take_unscaled_gradients

FUSED = SGD, Adam, AdamW  # Adagrad's has no kernel for CUDA in torch 2.11
FORMS = "foreach", "fused"


def keep_form(optimizer: Optimizer) -> None:
    """Lets the optimizer load the state of one in the other form, and keep its own form."""
    optimizer.register_load_state_dict_pre_hook(_in_own_form)
    if optimizer.defaults.get("fused"):
        take_unscaled_gradients(optimizer)  # which is what they are before the step: callbacks look at them
        optimizer.register_load_state_dict_post_hook(_fit)
        _fit(optimizer)


def _in_own_form(optimizer: Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    own = [{name: group[name] for name in FORMS if name in group} for group in optimizer.param_groups]
    groups = state["param_groups"]
    if len(groups) != len(own):
        return state  # torch says so
    return {**state, "param_groups": [{**saved, **form} for saved, form in zip(groups, own, strict=True)]}


def _fit(optimizer: Optimizer) -> None:
    """Adds to the state what the kernels take for granted."""
    for group in optimizer.param_groups:
        for param in group["params"]:
            if group.get("momentum"):
                # sgd creates them in its first step, when all parameters must have a gradient; but some may be frozen.
                optimizer.state[param].setdefault("momentum_buffer", torch.zeros_like(param))
            if state := optimizer.state.get(param):
                state.update(list(_in_order_of(param, state)))


def _in_order_of(param: Tensor, state: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Tensors, such as those of a run without --channels_last, in the parameter's order in memory."""
    for name, value in state.items():
        if isinstance(value, Tensor) and value.shape == param.shape and value.stride() != param.stride():
            yield name, torch.empty_like(param, dtype=value.dtype).copy_(value)
