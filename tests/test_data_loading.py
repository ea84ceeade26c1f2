"""data_loading.py: the same batches in every way, the orders that it draws, and bad input."""

import numpy as np
import pytest
import torch
from torch.utils.data import BatchSampler, RandomSampler

from experiments import data_loading
from experiments.data_loading import FEW, OF_FEW, Pictures, collate, orders
from harness.command_line.cli import cli


def test_orders_are_those_of_torchs_samplers_and_of_seed_and_epoch():
    found = orders(seed=3)
    in_order, first, second, again, dropping, whole, whole_second = found.values()
    assert in_order == [list(range(start, min(start + OF_FEW, FEW))) for start in range(0, FEW, OF_FEW)]
    assert again == first != second
    assert dropping == first[:-1]
    assert [len(batch) for batch in first] == [5, 5, 5, 5, 2]
    generator = torch.Generator().manual_seed(3)
    torch.empty((), dtype=torch.int64).random_(generator=generator)  # the workers' seed, which the loader draws first
    sampler = RandomSampler(range(FEW), generator=generator)
    assert first == list(BatchSampler(sampler, OF_FEW, drop_last=False))
    for epoch, batches in enumerate((whole, whole_second)):
        assert [sample for batch in batches for sample in batch] == np.random.default_rng((3, epoch)).permutation(
            FEW
        ).tolist()


def test_a_sample_and_a_batch_are_pixels_from_0_to_1():
    images = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), np.uint8)
    labels = np.array([3, 1, 2, 0], np.uint8)
    pictures = Pictures(images, labels)
    assert len(pictures) == 4
    image, label = pictures[2]
    np.testing.assert_array_equal(image.numpy(), images[2].transpose(2, 0, 1).astype(np.float32) / np.float32(255))
    assert label == 2
    batch, its_labels = collate([(images[2], 2), (images[0], 3)])
    assert torch.equal(batch, torch.stack([pictures[2][0], pictures[0][0]]))
    assert its_labels.tolist() == [2, 3] and its_labels.dtype == torch.int64


def test_script_does_what_the_header_says(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data_loading, "TURN", 0.1)
    metrics = cli(data_loading.main, None, ["--turns", "3", "--workers", "1", "--run_dir", str(tmp_path)])
    assert metrics["largest_difference"] == 0
    assert metrics["times_as_fast"] > 3  # five to ten, where nothing else runs
    assert metrics["batches"] == -(-1800 // 128)
    assert len(metrics["images_per_second"]) == 6
    (folder,) = tmp_path.glob("data_loading/*/figures")
    assert {path.stem for path in folder.iterdir()} == {"orders", "speeds"}
    assert "\n    python experiments/data_loading.py" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--batch_size", "1"], "batch_size 1: must be at least 2"),
        (["--batch_size", "1801"], "batch_size 1801: there are only 1,800 training images"),
        (["--workers", "-1"], "workers -1: must be at least 0"),
        (["--turns", "0"], "turns 0: must be at least 1"),
    ],
)
def test_bad_input_ends_with_one_line(refusal, flags, said):
    assert said in refusal(data_loading.main, *flags)
