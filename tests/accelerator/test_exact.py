"""The same command gives the same weights, and so does a run that was killed within an epoch and resumed."""

import pytest
from accelerated_runs import Command, assert_same, killed, last_checkpoint

AUGMENT = "flip,rotate,zoom,elastic,crop:2,shift,noise,cutout:6,erase"
COMMANDS = {
    "lenet5": Command("mnist", ["--net", "lenet5", "--augment", AUGMENT]),
    "cnn": Command("cifar10", ["--net", "cnn"]),
    "cnn_mixed": Command("cifar10", ["--net", "cnn", "--mixup", "0.2", "--cutmix", "1.0", "--ema", "0.99"]),
    "resnet18": Command("cifar10", ["--net", "resnet18"]),
    "speednet": Command("cifar10", ["--net", "speednet"]),
    "tabm": Command("table", ["--net", "tabm", "--batch_size", "32", "--folds", "0"]),
}
STEP = 5  # that a run is killed after: two steps after its last checkpoint, which is of the third, within an epoch


@pytest.mark.parametrize("name", COMMANDS)
def test_two_runs_and_a_killed_one_end_alike(tmp_path, accelerator, name):
    command, device = COMMANDS[name], ("--accelerator", accelerator, "--devices", "1")
    whole = command.train(tmp_path / "whole", *device)
    assert_same(whole, command.train(tmp_path / "again", *device))
    interrupted = killed(command, tmp_path / "killed", STEP, *device)
    assert last_checkpoint(interrupted)["global_step"] == 3
    assert_same(whole, command.resume(interrupted))
