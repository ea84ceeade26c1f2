"""Batches: each image once, the same ones on any number of ranks, and the same again after a resume."""

import itertools

import numpy as np
import pytest
import torch

from datamodules.augment import parse_augmentations
from datamodules.batches import EvalBatches, Images, Part, Rows, TrainBatches

CPU = torch.device("cpu")


def numbered(count):
    """Images of 2 x 2 pixels, whose value is the number of the image; its last digit is the label."""
    numbers = np.arange(count, dtype=np.uint8)
    return Images(numbers.repeat(4).reshape(-1, 2, 2), numbers % 10, CPU)


def train_batches(count=102, batch_size=8, seed=0, epoch=0, **options):
    return TrainBatches(numbered(count), np.arange(count), batch_size, seed, lambda: epoch, **options)


def numbers(batches):
    """The numbers of the images, batch by batch."""
    return [(images[:, 0, 0, 0] * 255).round().int().tolist() for images, _ in batches]


def flat(batches):
    return list(itertools.chain(*numbers(batches)))


def equal(left, right):
    pairs = zip(left, right, strict=True)
    return all(torch.equal(a, b) for pair in pairs for a, b in zip(*pair, strict=True))


def test_pixels_are_scaled_to_0_and_1():
    images = Images(np.array([[[0, 255], [51, 102]]], np.uint8), np.array([3], np.uint8), CPU)
    pixels, labels = images.take(torch.tensor([0]))
    assert (pixels.dtype, labels.dtype) == (torch.float32, torch.int64)
    assert torch.allclose(pixels, torch.tensor([[[[0, 1], [0.2, 0.4]]]]))
    assert (pixels.min(), pixels.max()) == (0, 1)
    assert labels.tolist() == [3]


def test_colour_comes_first():
    array = np.random.default_rng(0).integers(256, size=(5, 4, 6, 3), dtype=np.uint8)
    pixels, labels = Images(array, np.arange(5, dtype=np.uint8), CPU).take(torch.tensor([4, 1]))
    assert pixels.shape == (2, 3, 4, 6)
    assert np.allclose(pixels.numpy(), np.moveaxis(array[[4, 1]], 3, 1) / 255)
    assert labels.tolist() == [4, 1]


def test_rows_of_a_table_come_in_the_order_of_images():
    table = Rows(np.arange(102, dtype=np.float32)[:, None].repeat(3, axis=1), np.arange(102) / 2, CPU)
    options = dict(indices=np.arange(102), batch_size=8, seed=5, epoch=lambda: 2, part=Part(1, 2))
    batches = list(TrainBatches(table, **options))
    assert [rows[:, 2].int().tolist() for rows, _ in batches] == numbers(TrainBatches(numbered(102), **options))
    assert all(torch.equal(rows[:, 0] / 2, targets) for rows, targets in batches)
    assert [len(targets) for _, targets in EvalBatches(table, np.arange(9), 4)] == [4, 4, 1]


def test_each_training_image_comes_once_with_its_label():
    odd = np.arange(1, 101, 2)
    batches = list(TrainBatches(numbered(101), odd, 8, 0, lambda: 0))
    assert sorted(flat(batches)) == odd.tolist()
    assert flat(batches) != odd.tolist()
    for images, labels in batches:
        assert torch.equal((images[:, 0, 0, 0] * 255).round().long() % 10, labels)


def test_order_follows_from_seed_and_epoch():
    orders = [tuple(flat(train_batches(seed=seed, epoch=epoch))) for seed in (0, 1, 2) for epoch in (0, 1, 2)]
    again = [tuple(flat(train_batches(seed=seed, epoch=epoch))) for seed in (0, 1, 2) for epoch in (0, 1, 2)]
    assert orders == again
    assert len(set(orders)) == 9


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_the_batches_of_a_single_device(world_size):
    ranks = [numbers(train_batches(part=Part(rank, world_size))) for rank in range(world_size)]
    joined = [list(itertools.chain(*parts)) for parts in zip(*ranks, strict=True)]
    assert joined == numbers(train_batches(batch_size=8 * world_size))
    assert len(set(itertools.chain(*joined))) == 102  # leaves 6 for the last batch, a multiple of 2 and 3


@pytest.mark.parametrize(
    ("count", "batch_size", "world_size", "sizes"),
    [
        (16, 8, 1, [8, 8]),
        (18, 8, 1, [8, 8, 2]),
        (17, 8, 1, [8, 8]),  # one image is too few for BatchNorm
        (7, 8, 1, [7]),
        (1, 8, 1, []),
        (36, 8, 2, [8, 8, 2]),
        (35, 8, 2, [8, 8]),  # 3 left: one of the ranks would get one
        (37, 8, 2, [8, 8, 2]),  # 5 left: the odd one is left out
        (26, 3, 3, [3, 3, 2]),  # 8 left: 2 are left out
    ],
)
def test_leftovers_are_used_where_each_rank_gets_two(count, batch_size, world_size, sizes):
    for rank in range(world_size):
        batches = train_batches(count, batch_size, part=Part(rank, world_size))
        assert [len(part) for part in numbers(batches)] == sizes
        assert len(batches) == len(sizes)


@pytest.mark.parametrize("world_size", [1, 2])
def test_resumed_epoch_gives_exactly_the_remaining_batches(world_size):
    options = {"part": Part(world_size - 1, world_size), "augmentations": parse_augmentations("flip,noise:0.2")}
    whole, batches, states = train_batches(epoch=3, **options), [], []
    states.append(whole.state_dict())
    for batch in whole:
        batches.append(batch)
        states.append(whole.state_dict())
    for done, state in enumerate(states):
        resumed = train_batches(epoch=3, **options)
        resumed.load_state_dict(state)
        torch.rand(done)  # another process, another random state
        assert equal(resumed, batches[done:])


@pytest.mark.parametrize("following", [0, 1])  # 0: under --overfit_batches every epoch is the first
def test_epoch_after_a_resumed_one_is_whole(following):
    loader = train_batches()
    loader.load_state_dict({"epoch": 0, "batches": 5})
    assert len(list(loader)) == 13 - 5
    loader.epoch = lambda: following
    assert equal(loader, train_batches(epoch=following))


def test_position_in_an_older_epoch_is_ignored():
    loader = train_batches(epoch=4)
    loader.load_state_dict({"epoch": 3, "batches": 5})
    assert equal(loader, train_batches(epoch=4))


@pytest.mark.parametrize("taken", [2, 13])
def test_loader_gives_the_same_batches_again_in_the_same_epoch(taken):  # as --overfit_batches needs
    loader = train_batches()
    first = list(itertools.islice(loader, taken))
    assert equal(itertools.islice(loader, taken), first)


def after_each_batch(draws=1, **options):
    """A random number after each batch of an epoch, the last of `draws`."""
    return [torch.rand(draws)[0].item() for _ in train_batches(**options)]


def test_random_stream_follows_from_seed_epoch_batch_and_rank():
    keys = [
        {"seed": seed, "epoch": epoch, "part": Part(rank, 2)}
        for seed, epoch, rank in itertools.product((0, 1), repeat=3)
    ]
    streams = [after_each_batch(**key) for key in keys]
    assert [after_each_batch(draws=9, **key) for key in keys] == streams  # however much each step draws
    assert len(set(itertools.chain(*streams))) == 8 * 7  # 102 images are 7 batches on 2 ranks


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("count", [1, 2, 7, 101])
def test_evaluation_sees_each_image_once_on_any_number_of_ranks(count, world_size):
    indices = np.arange(count)[::-1].copy()
    loaders = [EvalBatches(numbered(101), indices, 4, Part(rank, world_size)) for rank in range(world_size)]
    ranks = [numbers(loader) for loader in loaders]
    assert sorted(itertools.chain(*itertools.chain(*ranks))) == list(range(count))
    assert {len(parts) for parts in ranks} == {len(loader) for loader in loaders} == {-(-count // (4 * world_size))}
    assert max(len(part) for parts in ranks for part in parts) <= 4


def test_evaluation_keeps_the_order_and_may_end_in_an_empty_batch():
    indices = np.array([9, 2, 5, 0, 7])
    assert numbers(EvalBatches(numbered(10), indices, 2)) == [[9, 2], [5, 0], [7]]
    *_, (images, labels) = EvalBatches(numbered(10), indices, 2, part=Part(1, 2))
    assert (images.shape, labels.shape) == ((0, 1, 2, 2), (0,))
