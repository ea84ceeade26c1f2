"""Two ranks on CPUs, with gloo: steps captured under the stand-in for CUDA graphs equal eager ones bit for bit."""

import pytest
import torch
from interrupt import ROOT, only_run, start

# Started by itself, and by Lightning once more for the second rank.
SCRIPT = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests")!r})
from harness.command_line.cli import cli
import torch
from experiments import mnist
import callbacks.capture
from strict_graphs import StrictGraphs

torch.set_num_threads(1)
made = []

def graphs_of(trainer):
    made.append(StrictGraphs(trainer.lightning_module))
    return made[-1]

callbacks.capture.graphs_of = graphs_of
cli(mnist.main, {{}}, sys.argv[1:])
print("replays:", sum(each.replays for each in made), flush=True)
"""
STEPS, WARM_UP = 14, 3
QUICK = "--sample --devices 2 --accelerator cpu --batch_size 8 --lr 0.01 --max_epochs 2 --limit_train_batches 7".split()
QUICK += "--limit_val_batches 2 --limit_test_batches 2 --pictures false --enable_progress_bar false".split()
WAYS = {
    "momentum": ["--net", "mlp", "--optimizer", "sgd"],
    "accumulation": ["--net", "mlp", "--optimizer", "adamw", "--accumulate_grad_batches", "3", "--ema", "0.9"],
    "statistics": ["--net", "cnn", "--optimizer", "muon", "--gradient_clip_val", "0.1", "--mixup", "0.2"],
}


def end_of(folder, *flags):
    """What two ranks print, and their last checkpoint."""
    script = folder.parent / "captured.py"
    script.write_text(SCRIPT)
    process = start(script, *QUICK, *flags, "--run_dir", str(folder))
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0, printed
    return printed, torch.load(only_run(folder) / "checkpoints" / "last.ckpt", weights_only=True)


def tensors_in(state):
    leaves, _ = torch.utils._pytree.tree_flatten([state[part] for part in ("state_dict", "optimizer_states")])
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "way", ["momentum", *(pytest.param(way, marks=pytest.mark.slow) for way in WAYS if way != "momentum")]
)
def test_two_captured_ranks_learn_as_two_eager_ones(tmp_path, way):
    _, eager = end_of(tmp_path / "eager", *WAYS[way], "--capture", "false")
    printed, captured = end_of(tmp_path / "captured", *WAYS[way], "--capture", "true")
    assert printed.count(f"replays: {STEPS - WARM_UP}\n") == 2, printed  # each rank's own
    assert "eagerly" not in printed
    assert eager["train_means"] and captured["train_means"].keys() == eager["train_means"].keys()
    ours, theirs = tensors_in(captured), tensors_in(eager)
    assert len(ours) == len(theirs) > 0
    assert all(map(torch.equal, ours, theirs))
