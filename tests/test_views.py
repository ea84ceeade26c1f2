"""Views: evaluation averages over moved and mirrored images, training does not."""

import numpy as np
import pytest
import torch
from torch import nn

from basics.errors import InputError
from lit_modules import Classifier
from lit_modules.embedder import Embedder


def classifier(**options):
    return Classifier("softmax", (1, 4, 5), 20, **options)


def embedder(**options):
    return Embedder("softmax", (1, 4, 5), 3, embedding_size=20, **options)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("build", [classifier, embedder])
def test_evaluation_averages_over_moved_and_mirrored_images(build, flip):
    model = build(test_shift=1, test_flip=flip)
    nn.init.eye_(model.net.linear.weight)  # the outputs are the pixels
    nn.init.zeros_(model.net.linear.bias)
    images = torch.rand(3, 1, 4, 5)
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (1, 1), (1, 1)), mode="reflect")
    views = [padded[..., top : top + 4, left : left + 5] for top, left in ((0, 0), (1, 1), (2, 2))]
    views += [view[..., ::-1] for view in views] if flip else []
    expected = torch.from_numpy(np.mean(views, axis=0)).flatten(1)
    torch.testing.assert_close(model.eval()(images), expected)
    torch.testing.assert_close(model.train()(images), images.flatten(1))


@pytest.mark.parametrize("build", [classifier, embedder])
@pytest.mark.parametrize("shift, words", [(4, "must be below the image's 4 pixels"), (-1, "must not be negative")])
def test_shift_is_within_the_image(build, shift, words):
    with pytest.raises(InputError, match=f"test_shift {shift}: {words}"):
        build(test_shift=shift)
