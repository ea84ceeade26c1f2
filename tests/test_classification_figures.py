"""What pictures of predictions show, compared with scikit-learn and torchmetrics."""

from io import BytesIO

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from sklearn.metrics import average_precision_score, confusion_matrix, precision_recall_curve
from torchmetrics.functional.classification import multiclass_calibration_error

from harness.drawing.class_figures import draw_by_class
from harness.drawing.classification_figures import (
    calibration,
    draw_calibration,
    draw_confusion,
    draw_pr,
    pr_curve,
)
from harness.drawing.short_names import shortened


@pytest.fixture(scope="module", params=[3, 10, 100])
def predictions(request):
    """Probabilities of 500 samples with ties among them, and labels, of which one class has none."""
    classes, generator = request.param, torch.Generator().manual_seed(request.param)
    labels = torch.randint(classes - 1, (500,), generator=generator)
    logits = torch.randn(500, classes, generator=generator) + 2 * torch.nn.functional.one_hot(labels, classes)
    return logits.mul(4).round().div(4).softmax(1), labels


def names_of(classes):
    return [f"class {number}" for number in range(classes)]


def test_confusion_matrix_is_that_of_sklearn(predictions):
    probabilities, labels = predictions
    classes = probabilities.shape[1]
    expected = confusion_matrix(labels, probabilities.argmax(1), labels=range(classes))
    drawn = draw_confusion(probabilities, labels, names_of(classes)).axes[0].images[0].get_array() ** 2
    np.testing.assert_allclose(drawn, expected / np.maximum(expected.sum(1, keepdims=True), 1))  # shares of rows


def test_pr_curve_and_its_average_are_those_of_sklearn(predictions):
    probabilities, labels = predictions
    for number in range(0, probabilities.shape[1] - 1, 7):
        scores, hits = probabilities[:, number], labels == number
        curve = pr_curve(scores, hits)
        precision, recall, _ = precision_recall_curve(hits, scores)  # from the loosest threshold on, with a last point
        np.testing.assert_allclose(curve.precision, precision[-2::-1])
        np.testing.assert_allclose(curve.recall, recall[-2::-1])
        assert curve.average == pytest.approx(average_precision_score(hits, scores))


def test_calibration_error_is_that_of_torchmetrics(predictions):
    probabilities, labels = predictions
    found = calibration(probabilities, labels)
    expected = multiclass_calibration_error(probabilities, labels, probabilities.shape[1], n_bins=15)
    assert found.error == pytest.approx(float(expected), abs=1e-6)
    assert found.count.sum() == len(labels)


def test_calibration_bins_by_hand():
    probabilities = torch.tensor([[0.9, 0.1], [0.21, 0.79], [0.55, 0.45], [1.0, 0.0]])
    found = calibration(probabilities, torch.tensor([0, 0, 1, 0]))
    np.testing.assert_array_equal(found.count[[8, 11, 13, 14]], 1)  # 0.55, 0.79, 0.9 and 1 in fifteenths
    assert found.error == pytest.approx((0.1 + 0.79 + 0.55 + 0) / 4)


def test_full_confidence_is_in_the_last_bin():
    probabilities = torch.tensor([[1.0, 0.0], [0.96, 0.04]])
    found = calibration(probabilities, torch.tensor([1, 0]))  # the surer one is wrong
    assert found.count[-1] == 2
    assert found.error == pytest.approx(0.98 - 0.5)


def test_figures_say_what_they_were_given(predictions):
    probabilities, labels = predictions
    classes = names_of(probabilities.shape[1])
    right = int((probabilities.argmax(1) == labels).sum())
    figure = draw_confusion(probabilities, labels, classes)
    assert f"{right} of 500 right" in figure.axes[0].get_title()
    counts = confusion_matrix(labels, probabilities.argmax(1), labels=range(len(classes)))
    if len(classes) <= 10:
        cells = {text.get_position(): text.get_text() for text in figure.axes[0].texts}
        assert len(cells) == np.count_nonzero(counts)
        for (column, row), text in cells.items():
            share = 100 * counts[row, column] / counts[row].sum()
            assert text.split("\n")[0] == str(counts[row, column])
            assert float(text.split("\n")[1].removesuffix("%")) == pytest.approx(share, abs=0.051)
    else:
        np.fill_diagonal(counts, 0)
        true, guess = np.unravel_index(counts.argmax(), counts.shape)
        first = figure.axes[1].get_yticklabels()[0].get_text().split(" → ")
        assert counts[classes.index(first[0]), classes.index(first[1])] == counts[true, guess]
    lines = draw_pr(probabilities, labels, classes).axes[0].lines
    assert len(lines) == len(labels.unique())
    assert draw_calibration(probabilities, labels).axes[0].get_title().startswith("Expected calibration error")


def test_perfect_predictions_of_one_class_can_be_drawn():
    probabilities, labels = torch.tensor([[1.0, 0.0]] * 5), torch.zeros(5, dtype=torch.long)
    draw_confusion(probabilities, labels, ["a", "b"])
    draw_pr(probabilities, labels, ["a", "b"])
    assert calibration(probabilities, labels).error == 0


def test_long_names_keep_both_ends():
    assert shortened("golden retriever, a dog", 11) == "golde…a dog"
    assert shortened("cat", 11) == "cat"


def test_names_are_shown_as_they_are():
    probabilities, labels = torch.eye(3).clamp(0.1), torch.arange(3)
    names = ["_other", "$1 or $2", "a$b$c^{"]
    figure = draw_confusion(probabilities, labels, names)
    figure.savefig(BytesIO())  # a formula would be read now, and refused
    legend = draw_pr(probabilities, labels, names).axes[0].get_legend().get_texts()
    assert len(legend) == 3


def test_many_long_names_stay_different_and_within_the_figure():
    sizes, places = ("lesser spotted", "greater spotted", "black-headed"), ("lakes", "woods", "mountains", "isles")
    birds = [f"{size} {bird} of the northern" for size in sizes for bird in ("woodpecker", "gull")]
    names = [f"{bird} {place}" for bird in birds for place in places]
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(len(names)).repeat(10)
    probabilities = torch.randn(len(labels), len(names), generator=generator).softmax(1)
    for draw in (draw_confusion, draw_by_class, draw_pr):
        figure = draw(probabilities, labels, names)
        FigureCanvasAgg(figure).draw()
        legends = [text for axes in figure.axes if axes.get_legend() for text in axes.get_legend().get_texts()]
        ticks = [text for axes in figure.axes for text in axes.get_yticklabels()]
        titles = [text for axes in figure.axes for text in (axes.title, axes._right_title, axes.xaxis.label)]
        for text in [*legends, *ticks, *titles]:
            box = text.get_window_extent()
            assert not text.get_text() or (box.x0 >= 0 and box.x1 <= figure.bbox.width), text.get_text()
        for texts in (legends, [text for text in ticks if "…" in text.get_text()]):
            assert len({text.get_text().split("  ")[-1] for text in texts}) == len(texts)
