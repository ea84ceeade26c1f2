"""Expected times of exchanges, beside a ring that is played through and the sizes of known networks."""

import numpy as np
import pytest

from benchmarks.scaling import GPUS, Case, Links, exchange_seconds, main, measured, row


def played_ring(values):
    """Sums of the columns, by neighbours in a ring; returns those of each rank, and how many numbers each has sent."""
    ranks, chunks, sent = len(values), [list(np.array_split(own, len(values))) for own in values], 0
    for gathers in (False, True):  # first each rank gets the sum of one chunk, then all ranks get all sums
        for step in range(ranks - 1):
            turn = [(rank + gathers - step) % ranks for rank in range(ranks)]
            messages = [chunks[rank][turn[rank]].copy() for rank in range(ranks)]
            sent += len(messages[0])
            for rank, chunk in enumerate(turn):
                after = chunks[(rank + 1) % ranks]
                after[chunk] = messages[rank] if gathers else after[chunk] + messages[rank]
    return [np.concatenate(own) for own in chunks], sent


@pytest.mark.parametrize("ranks", [2, 5, 8])
def test_ring_sends_as_much_as_is_expected(ranks):
    values = np.random.default_rng(0).integers(100, size=(ranks, 40 * ranks))
    sums, sent = played_ring(values)
    assert all((own == values.sum(0)).all() for own in sums)
    links = Links(within=1.0, between=0.5, latency=0.0, node_gpus=8)
    assert exchange_seconds(40 * ranks, ranks, links) == pytest.approx(sent)  # one number a second


def test_exchange_between_machines_has_the_slower_link_and_the_tree_less_to_wait_for():
    links = Links(within=450e9, between=50e9, latency=10e-6, node_gpus=8)
    assert exchange_seconds(1e9, 8, links) == pytest.approx(2 * 7 / 8 / 450 + 14 * 10e-6)
    assert exchange_seconds(1e9, 1024, links) == pytest.approx(2 / 50 + 20 * 10e-6)  # 2 x 10 levels, not 2,046 steps
    assert exchange_seconds(1e9, 1, links) == 0


def test_table_has_known_sizes_and_shares():
    sizes = {case.name: case.parameters for case in measured()}
    assert (sizes["lenet5"], sizes["resnet18"]) == (61_706, 11_173_962)
    even = Links(within=1e9, between=1e9, latency=0.0, node_gpus=8)
    cells = row(Case("own", 250_000, 32, 1.75), even).split(" | ")  # 1 MB: 1.75 ms over eight GPUs
    assert cells[1:5] == ["250,000", "1.0", "1.75", "1.75"]
    assert cells[7] == "50%"


def test_own_network_has_a_row(capsys):
    main(parameters=25_557_032, batch_size=256, ms=95.0)
    head, _, own = capsys.readouterr().out.splitlines()
    assert own.startswith("| own, 256 | 25,557,032 | 102.2 | 95.00 |")
    assert all(f"speed per GPU, {gpus:,}" in head for gpus in GPUS)


@pytest.mark.parametrize(("flag", "value"), [("within", 0.0), ("between", -1.0), ("node_gpus", 0), ("latency", -1.0)])
def test_links_that_cannot_be_are_one_line(flag, value, refusal):
    assert f"error: {flag} {value:g}: must" in refusal(main, f"--{flag}", str(value))
