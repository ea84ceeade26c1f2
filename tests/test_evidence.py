"""Grad-CAM and occlusion: known maps of networks made by hand, and planted evidence that is found."""

import copy

import pytest
import torch
from torch import nn

from benchmarks.grad_cam import SIDE, SQUARE, planted, shares_in_square, trained
from lit_modules import Classifier
from lit_modules.evidence import COVERED, PLACES, _feature_maps, evidence, grad_cam, makes_maps, occlusion
from lit_modules.nets import nets

IN_28 = {"inception_mnist", "residual_mnist"}
PLAIN = {"mlp", "softmax"}  # without convolutions
FAST = ("cnn", "lenet5", "speednet", "resnet_cifar", "inception_mnist", "mlp", "softmax")
COSTLY = sorted(set(nets()) - {*FAST, "linear", "tabm"})  # those are for tables


class ByColour(nn.Module):
    """Two maps, red and green; the first class wants red and not green, the second twice the green."""

    def __init__(self):
        super().__init__()
        self.maps = nn.Conv2d(3, 2, kernel_size=1, bias=False)
        self.head = nn.Linear(2, 2, bias=False)
        self.maps.weight.data = torch.eye(3)[:2, :, None, None].clone()
        self.head.weight.data = torch.tensor([[1.0, -1.0], [0.0, 2.0]])

    def forward(self, x):
        return self.head(self.maps(x).mean((2, 3)))


def by_colour(**options):
    model = Classifier("mlp", (3, 8, 8), 2, mean=(0.25,) * 3, std=(1.0,) * 3, **options).eval()
    model.net = ByColour()
    return model


def test_grad_cam_of_averaged_maps_is_their_weighted_sum_as_zhou_et_al_2016_have_it():
    images = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    red, green = (images - 0.25)[:, 0], (images - 0.25)[:, 1]
    expected = torch.stack([(red - green).clamp(min=0), (2 * green).clamp(min=0)])  # up to a factor
    for label in range(2):
        found = evidence(by_colour(), images, torch.full((5,), label)).grad_cam
        largest = expected[label].amax((1, 2), keepdim=True)
        torch.testing.assert_close(found, expected[label] / largest)
        raw = grad_cam(ByColour(), images - 0.25, torch.full((5,), label))
        torch.testing.assert_close(raw, expected[label] / 64)  # a pixel has a 64th of the mean


class ByPlace(nn.Module):
    """The same maps, with weights of their own for each place in the logits."""

    def __init__(self):
        super().__init__()
        self.maps = nn.Conv2d(3, 2, kernel_size=1, bias=False)
        self.head = nn.Linear(2 * 8 * 8, 2, bias=False)
        self.maps.weight.data = torch.eye(3)[:2, :, None, None].clone()

    def forward(self, x):
        return self.head(self.maps(x).flatten(1))


def test_places_are_weighted_by_what_each_adds_to_the_logit():
    torch.manual_seed(0)
    net, images = ByPlace(), torch.rand(5, 3, 8, 8)
    classes = torch.tensor([0, 1, 1, 0, 1])
    added = net.head.weight.detach()[classes].view(5, 2, 8, 8) * images[:, :2]
    torch.testing.assert_close(grad_cam(net, images, classes), added.sum(1).relu())
    assert torch.allclose(added.sum((1, 2, 3)), net(images).gather(1, classes[:, None])[:, 0])


def test_maps_are_the_last_that_are_fine_enough():
    halves = [nn.Conv2d(3, 3, 3, padding=1), nn.MaxPool2d(2)]
    shrinking = nn.Sequential(*halves, *halves, nn.AdaptiveAvgPool2d(1))
    for side, taken in {60: 15, 40: 20, 26: 26, 12: 12}.items():
        assert _feature_maps(shrinking, torch.rand(1, 3, side, side)).fitting[-1].shape[-1] == taken


def test_flipped_evaluation_is_explained_with_its_mirror_image():
    torch.manual_seed(0)
    images, labels = torch.rand(3, 3, 8, 8), torch.zeros(3, dtype=torch.long)
    model = by_colour(test_flip=True)
    model.net = ByPlace()
    weights, x = model.net.head.weight.detach()[0].view(2, 8, 8), (images - 0.25)[:, :2]
    own, mirrored = (weights * x).sum(1).relu(), (weights * x.flip(-1)).sum(1).relu().flip(-1)
    expected = (own + mirrored) / 2
    found = evidence(model, images, labels).grad_cam
    torch.testing.assert_close(found, expected / expected.amax((1, 2), keepdim=True))


def test_occlusion_is_the_mean_fall_over_the_squares_that_cover_a_pixel():
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    size, sums, times = 8 // COVERED, torch.zeros(2, 8, 8), torch.zeros(8, 8)
    odds = lambda x: (x[:, 0] - x[:, 1] - 2 * x[:, 1]).mean((1, 2))  # noqa: E731  logits of 0 less those of 1
    corners = [round(place * (8 - size) / (PLACES - 1)) for place in range(PLACES)]
    for top in corners:
        for left in corners:
            covered = images.clone()
            covered[:, :, top : top + size, left : left + size] = 0.25
            fall = (odds(images) - odds(covered)).clamp(min=0)
            sums[:, top : top + size, left : left + size] += fall[:, None, None]
            times[top : top + size, left : left + size] += 1
    assert times.min() >= 1
    torch.testing.assert_close(occlusion(by_colour(), images, torch.zeros(2, dtype=torch.long)), sums / times)


def test_sigmoids_are_judged_by_their_own_logits():
    images = torch.rand(2, 3, 8, 8)
    maps = occlusion(by_colour(loss="bce"), images, torch.ones(2, dtype=torch.long))
    blue = images.clone()
    blue[:, 0] = 0.9  # red, of which the second class knows nothing
    torch.testing.assert_close(occlusion(by_colour(loss="bce"), blue, torch.ones(2, dtype=torch.long)), maps)


def test_square_is_found_by_a_net_made_by_hand():
    images, classes, corners = planted(80, torch.Generator().manual_seed(2))
    red = classes == 0
    found = evidence(by_colour(), images[red], torch.zeros(int(red.sum()), dtype=torch.long))
    for maps in found:
        assert (shares_in_square(maps, corners[red]) > 0.5).float().mean() >= 0.95


def test_shares_in_the_square_are_those_counted_pixel_by_pixel():
    maps, corners = torch.rand(3, SIDE, SIDE), torch.tensor([[0, 0], [SIDE - SQUARE, 3], [7, SIDE - SQUARE]])
    for each, (top, left), share in zip(maps, corners.tolist(), shares_in_square(maps, corners), strict=True):
        inside = sum(float(each[top + row, left + column]) for row in range(SQUARE) for column in range(SQUARE))
        assert float(share) == pytest.approx(inside / float(each.sum()), rel=1e-5)


def test_nothing_of_the_model_or_of_the_random_numbers_changes():
    model = Classifier("cnn", (1, 28, 28), 10, mean=(0.1,), std=(0.3,)).eval()
    next(model.parameters()).grad = kept = torch.ones_like(next(model.parameters()))
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    with torch.inference_mode():
        images = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        found = evidence(model, images, torch.tensor([1, 2, 3]))
    assert [maps.shape for maps in found] == [(3, 28, 28)] * 2
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)
    gradients = [parameter.grad for parameter in model.parameters()]
    assert gradients[0] is kept and torch.equal(kept, torch.ones_like(kept))
    assert gradients[1:] == [None] * (len(gradients) - 1)
    assert not any(layer._forward_hooks for layer in model.modules())
    with pytest.raises(RuntimeError, match="training mode"):
        evidence(model.train(), images, torch.tensor([1, 2, 3]))


def test_frozen_weights_have_a_map_and_batches_change_nothing():
    model = Classifier("lenet5", (1, 28, 28), 10).eval().requires_grad_(False)
    images, labels = torch.rand(4, 1, 28, 28), torch.tensor([3, 1, 4, 1])
    whole = evidence(model, images, labels).grad_cam
    assert whole.amax((1, 2)).max() == 1
    for place in range(4):
        alone = evidence(model, images[place : place + 1], labels[place : place + 1]).grad_cam
        torch.testing.assert_close(alone[0], whole[place], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in COSTLY)])
def test_every_net_with_convolutions_has_a_map(name):
    model = Classifier(name, (1, 28, 28) if name in IN_28 else (3, 32, 32), 10)
    assert makes_maps(model.eval()) == (name not in PLAIN)


@pytest.mark.parametrize("net", [pytest.param("resnet_cifar", marks=pytest.mark.slow), "cnn"])
def test_trained_net_looks_at_the_planted_square(net):
    """The square is a seventh of the image; docs/images.md has the figures of more nets."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(3)
    model = trained(net, 60, generator)
    images, labels, corners = planted(300, generator)
    assert (model(images).argmax(1) == labels).float().mean() > 0.99
    squares = labels < 3
    by_gradients, by_covering = (
        shares_in_square(maps, corners[squares]) for maps in evidence(model, images[squares], labels[squares])
    )
    assert by_gradients.quantile(0.05) > 0.5
    assert by_gradients.mean() > 0.6
    assert by_covering.mean() > 0.5


def test_grey_images_of_a_network_that_takes_colours_have_maps():
    grey, coloured = (Classifier("cnn", (c, 28, 28), 10, mean=(0.5,) * 3, std=(0.2,) * 3).eval() for c in (1, 3))
    grey.net = coloured.net
    images, classes = torch.rand(2, 1, 28, 28), torch.tensor([0, 1])
    torch.testing.assert_close(
        occlusion(grey, images, classes), occlusion(coloured, images.expand(-1, 3, -1, -1), classes)
    )
    grey.normalise.mean = torch.tensor([0.3, 0.5, 0.7]).view(3, 1, 1)  # they are covered by the mean of these
    assert occlusion(grey, images, classes).shape == (2, 28, 28)
