"""Mixup and CutMix, against counts by hand and the distributions of their papers."""

import pytest
import torch
import torch.nn.functional as F
from scipy.stats import kstest

from lit_modules import Classifier, mix

IMAGES = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 3, 10, 12)  # image i is i everywhere


def test_mixup_is_the_weighted_mean_of_partners():
    torch.manual_seed(0)
    mixed, share = mix.mixup(IMAGES, alpha=1.0)
    for own, other in enumerate((3, 2, 1, 0)):
        torch.testing.assert_close(mixed[own], torch.full((3, 10, 12), share * own + (1 - share) * other))


def test_mixup_share_follows_the_beta_distribution():
    torch.manual_seed(0)
    shares = [mix.mixup(IMAGES, alpha=0.4)[1] for _ in range(500)]
    assert kstest(shares, "beta", args=(0.4, 0.4)).pvalue > 0.01


def test_cutmix_takes_one_rectangle_from_the_partner():
    torch.manual_seed(0)
    for _ in range(50):
        mixed, share = mix.cutmix(IMAGES, alpha=1.0)
        foreign = mixed != IMAGES  # (4, 3, 10, 12)
        assert (foreign == foreign[0, 0]).all()  # the same pixels in each image and channel
        rows, columns = foreign[0, 0].any(1), foreign[0, 0].any(0)
        assert torch.equal(foreign[0, 0], rows[:, None] & columns)
        assert ((rows.float().diff() != 0).sum() <= 2) and ((columns.float().diff() != 0).sum() <= 2)  # no gaps
        assert share == pytest.approx(1 - foreign[0, 0].float().mean().item())
        for own, other in enumerate((3, 2, 1, 0)):
            assert (mixed[own][foreign[own]] == other).all()


def test_cutmix_leaves_its_input_alone():
    images = IMAGES.clone()
    mix.cutmix(images, alpha=1.0)
    assert torch.equal(images, IMAGES)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_training_loss_is_that_of_soft_targets(kind):
    model = Classifier("softmax", (3, 10, 12), 4, **{kind: 1.0, "label_smoothing": 0.1})
    labels = torch.arange(4)
    torch.manual_seed(3)
    loss = model.training_step((IMAGES, labels), 0)
    torch.manual_seed(3)
    torch.randint(1, ())  # which of the mixes
    mixed, share = getattr(mix, kind)(IMAGES, 1.0)
    own = F.one_hot(labels, 4).float()
    targets = share * own + (1 - share) * own.flip(0)
    expected = F.cross_entropy(model(mixed), 0.9 * targets + 0.1 / 4)  # Szegedy et al. 2016, equation 9
    torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_training_accuracy_counts_both_labels_by_their_shares(kind):
    model = Classifier("softmax", (3, 10, 12), 4, **{kind: 1.0})
    model.net.forward = lambda images: torch.eye(4)[[0, 3, 2, 1, 0]]  # logits
    labels = torch.tensor([0, 1, 2, 2, 3])  # two as predicted; the partners' are 3, 2, 2, 1, 0, and three as predicted
    torch.manual_seed(3)
    model.training_step((torch.zeros(5, 3, 10, 12), labels), 0)
    torch.manual_seed(3)
    torch.randint(1, ())  # which of the mixes
    share = getattr(mix, kind)(torch.zeros(5, 3, 10, 12), 1.0)[1]
    assert model.means["train"].compute()[0]["acc"] == pytest.approx(share * 2 / 5 + (1 - share) * 3 / 5)


def test_both_take_turns_at_random():
    model = Classifier("softmax", (3, 10, 12), 4, mixup=1.0, cutmix=1.0)
    images, seen = torch.zeros(4, 3, 10, 12), []
    for name in ("mixup", "cutmix"):
        position = ["mixup", "cutmix"].index(name)
        model.mixes[position] = (lambda x, alpha, name=name: (seen.append(name) or x, 1.0), 1.0)
    torch.manual_seed(0)
    for _ in range(200):
        model.training_step((images, torch.arange(4)), 0)
    assert abs(seen.count("mixup") - 100) < 29  # four standard deviations


@pytest.mark.parametrize("option", ["mixup", "cutmix"])
@pytest.mark.parametrize("alpha", [-1.0, 0.0001])
def test_alpha_that_beta_cannot_have_is_refused(option, alpha):
    with pytest.raises(ValueError, match=f"{option} {alpha}: must"):
        Classifier("softmax", (1, 2, 2), 2, **{option: alpha})
