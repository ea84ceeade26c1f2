"""Embedded samples: of the promised sizes, the same at each call, and neither trivial nor wrong."""

import colorsys

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from datamodules import samples

SIZES = {  # training and test images, shape, classes
    samples.digits: (1437, 360, (28, 28), 10),
    samples.shapes: (2000, 500, (32, 32, 3), 10),
    samples.shapes_by_hue: (5000, 1000, (32, 32, 3), 100),
}


@pytest.fixture(scope="module")
def sample_of():
    """The sample that a function makes, made once."""
    made = {}
    return lambda make: made[make] if make in made else made.setdefault(make, make())


@pytest.mark.parametrize("make", SIZES)
def test_sizes_types_and_values_are_those_of_the_real_set(sample_of, make):
    num_train, num_test, shape, num_classes = SIZES[make]
    sample = sample_of(make)
    assert [part.shape for part in sample] == [(num_train, *shape), (num_train,), (num_test, *shape), (num_test,)]
    assert {part.dtype for part in sample} == {np.dtype(np.uint8)}
    for images, labels in (sample[:2], sample[2:]):
        assert (images.min(), images.max()) == (0, 255)
        assert set(labels.tolist()) == set(range(num_classes))


@pytest.mark.parametrize("make", SIZES)
def test_no_test_image_is_also_a_training_image(sample_of, make):
    sample = sample_of(make)
    train, test = ({image.tobytes() for image in images} for images in (sample.train_images, sample.test_images))
    assert train.isdisjoint(test)


@pytest.mark.parametrize("make", [samples.shapes, samples.shapes_by_hue])
def test_generated_classes_are_equally_frequent(sample_of, make):
    num_train, num_test, _, num_classes = SIZES[make]
    counts = np.bincount(np.concatenate([sample_of(make).train_labels, sample_of(make).test_labels]))
    assert counts.tolist() == [(num_train + num_test) // num_classes] * num_classes


@pytest.mark.parametrize(("make", "sizes"), [(samples.digits, ()), (samples.shapes_by_hue, (300, 100))])
def test_two_calls_give_the_same(make, sizes):
    assert [part.tobytes() for part in make(*sizes)] == [part.tobytes() for part in make(*sizes)]


def test_digits_are_those_of_scikit_learn_enlarged(sample_of):
    sample, original = sample_of(samples.digits), load_digits()
    images = np.concatenate([sample.train_images, sample.test_images])
    labels = np.concatenate([sample.train_labels, sample.test_labels])
    assert np.array_equal(np.bincount(labels), np.bincount(original.target))
    doubled = images.repeat(2, axis=1).repeat(2, axis=2)  # 56 pixels a side, 7 for each of the 8 originals
    small = doubled.reshape(-1, 8, 7, 8, 7).mean((2, 4)).reshape(-1, 64)
    assert small.mean() == pytest.approx(original.data.mean() * 255 / 16, rel=0.03)  # overshoots below 0 are cut
    for digit in range(10):
        ours, theirs = small[labels == digit], original.data[original.target == digit]
        matches = np.corrcoef(ours, theirs)[: len(ours), len(ours) :]
        assert matches.max(1).min() > 0.95
        assert sorted(matches.argmax(1)) == list(range(len(theirs)))  # each original once


def test_hues_are_a_finer_label_of_the_same_images():
    coarse, fine = samples.shapes(300, 100), samples.shapes_by_hue(300, 100)
    assert np.array_equal(coarse.train_images, fine.train_images)
    assert np.array_equal(coarse.train_labels, fine.train_labels // 10)


def test_colour_agrees_with_the_standard_library():
    hues, brightness = np.linspace(0, 1, 61), np.linspace(0.6, 1, 61)
    wanted = [colorsys.hsv_to_rgb(hue, 1, value) for hue, value in zip(hues, brightness, strict=True)]
    assert np.allclose(samples._colour(hues, brightness), wanted)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_linear_classifier_beats_chance_on_shapes_but_fails(sample_of):
    sample = sample_of(samples.shapes)
    train, test = (images.reshape(len(images), -1) / 255 for images in (sample.train_images[:500], sample.test_images))
    with threadpool_limits(1):  # more threads than free cores take twenty times as long
        model = LogisticRegression(max_iter=30).fit(train, sample.train_labels[:500])
    assert model.score(train, sample.train_labels[:500]) > 0.95
    assert 0.15 < model.score(test, sample.test_labels) < 0.6  # one in ten by chance
