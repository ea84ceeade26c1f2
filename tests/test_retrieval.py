"""Retrieval: the figures of scikit-learn and torchmetrics, bit-identical in any chunks, processes and orders."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score
from sklearn.neighbors import NearestCentroid, NearestNeighbors
from sklearn.preprocessing import normalize
from torchmetrics.functional.retrieval import retrieval_average_precision, retrieval_hit_rate, retrieval_precision

from lit_modules.retrieval import nearest, nearest_mean, retrieve

KS = (1, 3, 10)


def clusters(count, seed, size=6, classes=5):
    """Overlapping classes: rankings with much that is wrong."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    centres = torch.randn(classes, size, generator=torch.Generator().manual_seed(99))
    return centres[labels] + torch.randn(count, size, generator=generator), labels


QUERIES, LABELS = clusters(70, 1)
GALLERY, GALLERY_LABELS = clusters(211, 2)
SPACE = (QUERIES, LABELS, GALLERY, GALLERY_LABELS)


def rank(part):
    torch.set_num_threads(1)
    return retrieve(QUERIES[part], LABELS[part], GALLERY, GALLERY_LABELS)


def test_average_precision_is_scikit_learns():
    similarities = normalize(QUERIES.double().numpy()) @ normalize(GALLERY.double().numpy()).T
    expected = [
        average_precision_score(label == GALLERY_LABELS, row) for label, row in zip(LABELS, similarities, strict=True)
    ]
    assert 0.3 < np.mean(expected) < 0.9
    np.testing.assert_allclose(retrieve(*SPACE).average_precision, expected, rtol=1e-12)


def test_figures_are_torchmetrics():
    sums = retrieve(*SPACE).sums(KS)
    scores = 1 + torch.cosine_similarity(
        QUERIES[:, None], GALLERY[None], dim=2
    )  # torchmetrics passes over negative ones
    rows = [(row, label == GALLERY_LABELS) for row, label in zip(scores, LABELS, strict=True)]
    assert sums["precision_at_1"] == sum(retrieval_precision(*row, top_k=1) for row in rows)
    for k in KS:
        assert sums[f"recall_at_{k}"] == sum(retrieval_hit_rate(*row, top_k=k) for row in rows)
    assert sums["map"] == pytest.approx(float(sum(retrieval_average_precision(*row) for row in rows)), rel=1e-5)
    # With as many neighbours as there are images of the class, torchmetrics divides by the right ones among them.
    at_r = sum(
        retrieval_average_precision(*row, top_k=int(row[1].sum())) * retrieval_precision(*row, top_k=int(row[1].sum()))
        for row in rows
    )
    assert sums["map_at_r"] == pytest.approx(float(at_r), rel=1e-5)


def test_neighbours_are_scikit_learns():
    expected = NearestNeighbors(n_neighbors=9, metric="cosine").fit(GALLERY.double()).kneighbors(QUERIES.double())[1]
    assert nearest(QUERIES, GALLERY, 9, chunk=16).tolist() == expected.tolist()


def test_a_query_of_the_gallery_is_compared_with_the_others():
    own = torch.arange(5, 40)
    result = retrieve(GALLERY[own], GALLERY_LABELS[own], GALLERY, GALLERY_LABELS, itself=own, chunk=16)
    for row, query in enumerate(own.tolist()):
        others = torch.arange(len(GALLERY)) != query
        alone = retrieve(GALLERY[[query]], GALLERY_LABELS[[query]], GALLERY[others], GALLERY_LABELS[others])
        assert tuple(values[row] for values in result) == tuple(values[0] for values in alone)


def test_an_image_alone_with_its_class_finds_nothing():
    result = retrieve(QUERIES[:3], torch.tensor([0, 0, 1]), QUERIES[:3], torch.tensor([0, 0, 1]), torch.arange(3))
    assert result.first[2] == 4  # beyond the gallery
    assert result.average_precision[2] == result.average_precision_at_r[2] == 0
    assert result.average_precision[0] in (1, 1 / 2)


def test_class_means_are_scikit_learns_centroids():
    expected = NearestCentroid().fit(normalize(GALLERY.numpy()), GALLERY_LABELS)
    expected.centroids_ = normalize(expected.centroids_)  # of all means the length is 1, as of the queries
    assert nearest_mean(QUERIES, GALLERY, GALLERY_LABELS).tolist() == expected.predict(normalize(QUERIES)).tolist()


def test_number_without_images_is_no_nearest_class():
    gallery, labels = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 2])
    assert nearest_mean(torch.tensor([[-1.0, -0.5]]), gallery, labels).tolist() == [2]


def test_a_ranking_by_hand():
    gallery = torch.tensor([[1.0, 0.0], [1.0, 0.1], [1.0, 0.2], [1.0, 0.3], [0.0, 2.0]])
    result = retrieve(torch.tensor([[5.0, 0.0]]), torch.tensor([7]), gallery, torch.tensor([4, 7, 4, 7, 7]))
    assert result.first.tolist() == [2]
    assert result.average_precision[0] == pytest.approx((1 / 2 + 2 / 4 + 3 / 5) / 3)
    assert result.average_precision_at_r[0] == pytest.approx((1 / 2) / 3)  # of the three nearest, one is right


def test_of_equals_the_wrong_ones_come_first_and_lower_rows_are_nearest():
    same, labels = torch.ones(4, 3), torch.tensor([1, 0, 1, 0])
    result = retrieve(torch.ones(1, 3), torch.tensor([1]), same, labels)
    assert result.first.tolist() == [3]
    assert result.average_precision[0] == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert nearest(torch.ones(1, 3), same, 3).tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("chunk", [1, 7, 64, 1000])
def test_chunks_and_threads_change_no_bit(chunk):
    whole = retrieve(*SPACE)
    torch.set_num_threads(2)
    try:
        for ours, theirs in zip(retrieve(*SPACE, chunk=chunk), whole, strict=True):
            assert np.array_equal(ours, theirs)
        assert torch.equal(nearest(QUERIES, GALLERY, 20, chunk=chunk), nearest(QUERIES, GALLERY, 20))
    finally:
        torch.set_num_threads(1)


@pytest.mark.slow
def test_two_processes_change_no_bit():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
        theirs = other.submit(rank, slice(31, None))
        parts = [rank(slice(0, 31)), theirs.result()]
    for halves, whole in zip(zip(*parts, strict=True), retrieve(*SPACE), strict=True):
        assert np.array_equal(np.concatenate(halves), whole)


def test_order_and_lengths_do_not_matter():
    order = torch.randperm(len(GALLERY), generator=torch.Generator().manual_seed(3))
    changed = retrieve(QUERIES * 8, LABELS, GALLERY[order] / 2, GALLERY_LABELS[order])
    for ours, theirs in zip(changed, retrieve(*SPACE), strict=True):
        assert np.array_equal(ours, theirs)


def test_no_queries_add_nothing():
    assert set(retrieve(QUERIES[:0], LABELS[:0], GALLERY, GALLERY_LABELS).sums(KS).values()) == {0.0}
    assert nearest(QUERIES[:0], GALLERY, 4).shape == (0, 4)


@pytest.mark.parametrize("k", [0, 212])
def test_k_beyond_the_gallery_is_refused(k):
    with pytest.raises(ValueError, match=f"k {k}: must be from 1 to 211"):
        nearest(QUERIES, GALLERY, k)


def test_bad_embeddings_and_labels_are_named():
    with pytest.raises(ValueError, match="label 3 of query 3: no image of the gallery has it"):
        retrieve(QUERIES, LABELS, GALLERY, GALLERY_LABELS.clamp(max=2))
    broken = QUERIES.clone()
    broken[4, 1] = float("nan")
    with pytest.raises(ValueError, match="embedding 4: not finite"):
        retrieve(broken, LABELS, GALLERY, GALLERY_LABELS)
