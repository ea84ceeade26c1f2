"""How many operators a training step dispatches, and that none of them makes a GPU wait; see benchmarks/launches.py."""

import pytest
import torch

from benchmarks import launches
from benchmarks.launches import NETWORK, OPTIMIZER, REST, Operator, count

MORE_THAN_BARE = 12  # operators: what the whole path may add to the 81 of lenet5 with sgd
MUON_ONE_BY_ONE = 408  # in speednet's optimizer step at commit 2c84ba3, where each matrix went by itself


@pytest.fixture(scope="module")
def steps():
    """The operators of a step, by net, optimizer and loop, each recorded once."""
    return {
        (net, optimizer, name): way(launches.sample(net), net, optimizer)
        for net, optimizer in [("lenet5", "sgd"), ("lenet5", "adamw"), ("speednet", "muon")]
        for name, way in launches.WAYS.items()
    }


def test_whole_path_adds_few_operators_to_a_bare_loop(steps):
    ours, bare = (count(steps["lenet5", "sgd", name])["all"] for name in ("ours", "bare"))
    assert bare <= ours <= bare + MORE_THAN_BARE


def test_network_and_optimizer_have_the_same_operators_in_both(steps):
    for net, optimizer, _ in steps:
        ours, bare = count(steps[net, optimizer, "ours"]), count(steps[net, optimizer, "bare"])
        assert ours[OPTIMIZER] == bare[OPTIMIZER]
        assert ours[NETWORK] - bare[NETWORK] in range(3)  # the loss may be scaled, which is undone going backward


def test_muon_needs_a_quarter_of_the_operators_that_it_took(steps):
    assert 0 < count(steps["speednet", "muon", "ours"])[OPTIMIZER] <= MUON_ONE_BY_ONE / 4


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_fused_optimizers_take_one_operator_and_count_steps_by_another(steps, optimizer):
    assert count(steps["lenet5", optimizer, "ours"])[OPTIMIZER] == 1 + (optimizer == "adamw")


def test_nothing_is_read_from_the_device_in_a_step(steps):
    assert {key: count(operators)["host reads"] for key, operators in steps.items()} == dict.fromkeys(steps, 0)


def test_recorder_tells_the_parts_of_a_step_apart_and_sees_reads():
    layer = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1, fused=True)

    def closure():
        optimizer.zero_grad()
        loss = layer(torch.ones(3, 2)).sum()
        loss.backward()
        return loss

    with launches.recording(layer) as recorder:
        for _ in range(launches.STEP + 1):
            optimizer.step(closure=closure).item()
    operators = recorder.operators
    assert [o.name for o in operators if o.part == OPTIMIZER] == ["_fused_sgd_"]
    assert "addmm" in [o.name for o in operators if o.part == NETWORK]  # forward
    assert "mm" in [o.name for o in operators if o.part == NETWORK]  # backward
    assert [o.name for o in operators if o.part == REST] == ["_local_scalar_dense", "ones", "sum"]
    assert count(operators)["host reads"] == 1
    assert all(o.place.startswith("tests/test_launches.py:") for o in operators if o.part == REST)


def test_counts_add_up():
    operators = [
        Operator("mm", NETWORK, "", False),
        Operator("nonzero", REST, "", True),
        Operator("add", REST, "", False),
    ]
    assert count(operators) == {NETWORK: 1, OPTIMIZER: 0, REST: 2, "all": 3, "host reads": 1}
