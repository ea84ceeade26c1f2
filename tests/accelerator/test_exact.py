"""The same command gives the same weights, and so does a run that was killed within an epoch and resumed."""

import pytest
import torch
from accelerated_runs import Command, killed

AUGMENT = "flip,rotate,zoom,elastic,crop:2,shift,noise,cutout:6,erase"
COMMANDS = {
    "lenet5": Command("mnist", ["--net", "lenet5", "--augment", AUGMENT]),
    "cnn": Command("cifar10", ["--net", "cnn"]),
    "cnn_mixed": Command("cifar10", ["--net", "cnn", "--mixup", "0.2", "--cutmix", "1.0", "--ema", "0.99"]),
    "resnet18": Command("cifar10", ["--net", "resnet18"]),
    "speednet": Command("cifar10", ["--net", "speednet"]),
    "tabm": Command("table", ["--net", "tabm", "--batch_size", "32"]),
}
STEP = 5  # that a run is killed after: two steps after its last checkpoint, which is of the third, within an epoch


def last_checkpoint(run):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True, map_location="cpu")


def assert_same(run, other):
    """The last checkpoints have the same weights and the same optimizer state, bit for bit."""
    states = [last_checkpoint(each) for each in (run, other)]
    assert states[0]["global_step"] == states[1]["global_step"] > STEP
    tensors, others = (dict(_tensors([each["state_dict"], each["optimizer_states"]])) for each in states)
    assert tensors.keys() == others.keys()
    different = [name for name in tensors if not torch.equal(tensors[name], others[name])]
    assert not different, f"{len(different)} of {len(tensors)} differ, such as {different[:3]}"


def _tensors(value, place=""):
    if isinstance(value, torch.Tensor):
        yield place, value
    elif isinstance(value, dict | list):
        for key, part in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _tensors(part, f"{place}/{key}")


@pytest.mark.parametrize("name", COMMANDS)
def test_two_runs_and_a_killed_one_end_alike(tmp_path, accelerator, name):
    command, device = COMMANDS[name], ("--accelerator", accelerator, "--devices", "1")
    whole = command.train(tmp_path / "whole", *device)
    assert_same(whole, command.train(tmp_path / "again", *device))
    interrupted = killed(command, tmp_path / "killed", STEP, *device)
    assert last_checkpoint(interrupted)["global_step"] == 3
    assert_same(whole, command.resume(interrupted))
