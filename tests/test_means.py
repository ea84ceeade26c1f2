"""Means: exact on unequal batches, on several ranks, and for very many small sums."""

import pytest
import torch

from lit_modules.means import Means


def add_batches(means, *batches):
    for batch in batches:
        means.add(len(batch), loss=torch.tensor(batch).sum(), above_one=(torch.tensor(batch) > 1).sum())


def test_unequal_batches_count_by_their_size():
    means = Means()
    add_batches(means, [1.0, 2.0, 3.0, 10.0], [0.0])
    assert means.compute() == ({"loss": 16 / 5, "above_one": 3 / 5}, 5)  # the mean of batch means is 2 and 3/8


def test_batch_of_none_changes_nothing():
    means = Means()
    means.add(2, loss=torch.tensor(6.0))
    means.add(0, loss=torch.tensor(0.0))
    assert means.compute() == ({"loss": 3.0}, 2)


def test_what_is_forgotten_leaves_its_name_so_that_all_ranks_send_the_same():
    means, sent = Means(), []
    add_batches(means, [float("nan")])
    means.forget()
    assert means.compute(lambda total: sent.append(total.tolist()) or total) == ({}, 0)
    assert sent == [[0.0, 0.0, 0.0]]
    add_batches(means, [4.0])
    assert means.compute() == ({"loss": 4.0, "above_one": 1.0}, 1)


def test_ranks_are_added_up_before_dividing():
    ranks, sent = (Means(), Means()), []
    add_batches(ranks[0], [1.0, 2.0, 3.0])
    add_batches(ranks[1], [10.0])
    ranks[1].compute(lambda total: sent.append(total) or total)  # what the second rank would send
    # The mean of rank means is 6 and 5/6.
    assert ranks[0].compute(lambda total: total + sent[0]) == ({"loss": 4.0, "above_one": 3 / 4}, 4)


def test_many_small_sums_lose_no_digits():
    means, tenth = Means(), torch.tensor(0.1)  # float32, whose own sum is off by 1e-4 after so many
    for _ in range(100_000):
        means.add(1, loss=tenth)
    values, count = means.compute()
    assert count == 100_000
    assert values["loss"] == pytest.approx(0.100000001490116, rel=1e-12)  # the float32 next to 0.1


def test_computing_starts_anew():
    means = Means()
    add_batches(means, [5.0, 7.0])
    means.compute()
    add_batches(means, [1.0])
    assert means.compute() == ({"loss": 1.0, "above_one": 0.0}, 1)


def test_what_is_added_is_not_changed():
    means, loss = Means(), torch.tensor(3.0, dtype=torch.float64)
    means.add(1, loss=loss)
    means.add(1, loss=loss)
    assert loss == 3
    assert means.compute()[0]["loss"] == 3


def test_state_is_plain_and_goes_on_in_other_means():
    first, second = Means(), Means()
    add_batches(first, [1.0, 2.0], [6.0])
    state = first.state_dict()
    assert state == {"count": 3, "sums": {"loss": 9.0, "above_one": 2.0}}
    assert [type(value) for value in (state["count"], *state["sums"].values())] == [int, float, float]
    second.load_state_dict(state)
    assert second.state_dict() == state  # saved again before the next batch
    add_batches(second, [3.0])
    assert first.compute() == ({"loss": 9 / 3, "above_one": 2 / 3}, 3)
    assert second.compute() == ({"loss": 12 / 4, "above_one": 3 / 4}, 4)
