"""Losses on embeddings, against the formulas of their papers written out over pairs."""

import math

import pytest
import torch
import torch.nn.functional as F

from lit_modules.losses import LOSSES, build_loss

LABELS = torch.tensor([0, 1, 0, 2, 1, 0, 2, 2])


@pytest.fixture
def embeddings():
    return torch.randn(8, 3, generator=torch.Generator().manual_seed(0))


def unit_distances(embeddings):
    x = F.normalize(embeddings.double())
    return (x[:, None] - x[None]).square().sum(2).sqrt().tolist()  # (8, 8)


def pairs(alike):
    return [(i, j) for i in range(8) for j in range(8) if i != j and (LABELS[i] == LABELS[j]) == alike]


def test_softmax_is_log_of_the_share_of_the_own_class(embeddings):
    loss = build_loss("softmax", 3, 3)
    scores = (embeddings @ loss.head.weight.T).exp()
    expected = -(scores[range(8), LABELS] / scores.sum(1)).log().mean()
    torch.testing.assert_close(loss(embeddings, LABELS), expected)


@pytest.mark.parametrize("name", ["softmax", "center"])
def test_smoothed_targets_are_shared_with_all_classes(embeddings, name):
    options = {"weight": 0.0} if name == "center" else {}
    loss = build_loss(name, 3, 3, label_smoothing=0.3, **options)
    shares = (embeddings @ loss.head.weight.T).softmax(1)
    expected = -(0.7 * shares[range(8), LABELS].log() + 0.1 * shares.log().sum(1)).mean()  # 0.3 / 3 for each class
    torch.testing.assert_close(loss(embeddings, LABELS), expected)


def test_center_adds_half_the_squared_distances_from_the_centres():
    loss = build_loss("center", 2, 3, weight=0.1)
    torch.nn.init.zeros_(loss.head.weight)  # the cross-entropy is log 3
    x, labels = torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 1, 1])
    loss.centres[1] = torch.tensor([1.0, 1.0])
    # squared distances: 25 from (0, 0); 1 and 1 + 1 from (1, 1)
    assert loss(x, labels).item() == pytest.approx(math.log(3) + 0.1 / 2 * (25 + 1 + 2) / 3)


def test_centres_move_as_in_the_paper():
    loss = build_loss("center", 2, 3, rate=0.5)
    x, labels = torch.tensor([[3.0, 4.0], [1.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 1, 1])
    loss(x, labels)
    # rate * sum of deviations / (1 + number): (3, 4) / 2 / 2, (1, 2) / 3 / 2, and class 2 stays
    torch.testing.assert_close(loss.centres, torch.tensor([[0.75, 1.0], [1 / 6, 1 / 3], [0.0, 0.0]]))
    loss.eval()(x, labels)
    assert loss.centres[0].tolist() == [0.75, 1.0]  # only training moves them


def test_nca_is_the_log_probability_of_a_neighbour_of_the_own_class(embeddings):
    distance, total = unit_distances(embeddings), 0.0
    for i in range(8):
        weights = {j: math.exp(-5 * distance[i][j] ** 2) for j in range(8) if j != i}
        total -= math.log(sum(weights[j] for j in weights if LABELS[i] == LABELS[j]) / sum(weights.values()))
    assert build_loss("nca", 3, 3, scale=5.0)(embeddings, LABELS).item() == pytest.approx(total / 8, rel=1e-5)


def test_proxy_nca_is_a_softmax_over_the_proxies(embeddings):
    loss = build_loss("proxy_nca", 3, 3, scale=4.0)
    cosines = F.normalize(embeddings) @ F.normalize(loss.proxies).T
    expected = F.cross_entropy(-4 * (2 - 2 * cosines), LABELS)  # |x - p|^2 = 2 - 2 x.p
    torch.testing.assert_close(loss(embeddings, LABELS), expected)


def test_hard_triplets_are_the_farthest_and_the_nearest(embeddings):
    distance, total = unit_distances(embeddings), 0.0
    for i in range(8):
        alike = max(distance[i][j] for j in range(8) if j != i and LABELS[i] == LABELS[j])
        unlike = min(distance[i][j] for j in range(8) if LABELS[i] != LABELS[j])
        total += max(0.0, alike - unlike + 0.3)
    assert build_loss("triplet", 3, 3, margin=0.3)(embeddings, LABELS).item() == pytest.approx(total / 8, rel=1e-5)


def test_semihard_triplets_lie_within_the_margin(embeddings):
    distance = unit_distances(embeddings)
    triplets = [(distance[i][j], distance[i][k]) for i, j in pairs(True) for k in range(8) if LABELS[i] != LABELS[k]]
    losses = [alike - unlike + 0.3 for alike, unlike in triplets if alike < unlike < alike + 0.3]
    loss = build_loss("triplet", 3, 3, margin=0.3, mining="semihard")(embeddings, LABELS)
    assert losses
    assert loss.item() == pytest.approx(sum(losses) / len(losses), rel=1e-5)


def test_contrastive_squares_distances_and_what_lacks_to_the_margin(embeddings):
    distance = unit_distances(embeddings)
    alike = [distance[i][j] ** 2 / 2 for i, j in pairs(True)]
    unlike = [(1.2 - distance[i][j]) ** 2 / 2 for i, j in pairs(False) if distance[i][j] < 1.2]
    expected = sum(alike) / len(alike) + sum(unlike) / len(unlike)
    loss = build_loss("contrastive", 3, 3, margin=1.2)
    assert loss(embeddings, LABELS).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("labels", [[1, 1, 1, 1], [0, 1, 2, 1], [2]])
def test_batches_of_one_class_or_lone_images_have_finite_gradients(name, labels):
    loss = build_loss(name, 3, 3)
    embeddings = torch.randn(len(labels), 3, requires_grad=True)
    value = loss(embeddings, torch.tensor(labels))
    value.backward()
    assert value.isfinite()
    assert embeddings.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_identical_embeddings_have_finite_gradients(name):
    embeddings = torch.ones(4, 3, requires_grad=True)
    build_loss(name, 3, 3)(embeddings, torch.tensor([0, 0, 1, 1])).backward()
    assert embeddings.grad.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_gradient_steps_lower_the_loss(name, embeddings):
    torch.manual_seed(0)
    loss, points = build_loss(name, 3, 3), embeddings.clone().requires_grad_()
    optimizer = torch.optim.SGD([points, *loss.parameters()], lr=0.1)
    before = loss(points, LABELS).item()
    for _ in range(30):
        optimizer.zero_grad()
        loss(points, LABELS).backward()
        optimizer.step()
    assert loss(points, LABELS).item() < 0.9 * before


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("tripplet", {}, "did you mean triplet"),
        ("nca", {"margin": 1}, "'margin': nca has no such option; it has scale"),
        ("softmax", {"scale": 1}, "it has label_smoothing"),
        ("softmax", {"label_smoothing": 1.5}, "label_smoothing 1.5: must be from 0 to 1"),
        ("nca", {"scale": 0.0}, "scale 0.0: must be above 0"),
        ("proxy_nca", {"scale": -1.0}, "scale -1.0"),
        ("triplet", {"margin": 0.0}, "margin 0.0"),
        ("triplet", {"mining": "soft"}, "no such mining"),
        ("contrastive", {"margin": -1.0}, "margin -1.0"),
        ("center", {"weight": -0.1}, "weight -0.1"),
        ("center", {"rate": 1.5}, "rate 1.5"),
        ("center", {"label_smoothing": -0.1}, "label_smoothing -0.1: must be from 0 to 1"),
    ],
)
def test_bad_options_are_named(name, options, words):
    with pytest.raises(ValueError, match=words):
        build_loss(name, 3, 3, **options)
