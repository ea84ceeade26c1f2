"""robustness.py: calibration at a temperature, and accuracy on images made worse."""

import json

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torchmetrics.functional.classification import multiclass_calibration_error

from datamodules import MNIST, samples
from datamodules.arrays import write_arrays
from experiments import house_prices, robustness
from harness.tasks.classification import ImageFlags, classify
from harness.tasks.robustness import CHANGES, best_temperature, calibrations, moved, noisy, turned


def confident(scale: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels drawn from the softmax of logits, and these logits times a factor, which is the temperature to find."""
    torch.manual_seed(1)
    logits = 2 * torch.randn(5000, 4, dtype=torch.float64)
    return scale * logits, torch.multinomial(logits.softmax(1), 1)[:, 0]


@pytest.mark.parametrize("scale", [0.3, 1.0, 3.0])
def test_temperature_is_that_of_least_log_loss(scale):
    logits, labels = confident(scale)

    def loss(power: float) -> float:
        return float(torch.nn.functional.cross_entropy(logits / np.exp(power), labels))

    expected = np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x)
    assert best_temperature(logits, labels) == pytest.approx(expected, rel=2e-3)
    assert best_temperature(logits, labels) == pytest.approx(scale, rel=0.1)


def test_calibration_errors_are_those_of_torchmetrics():
    logits, labels = confident(3.0)
    found = calibrations(logits, labels, 3.0)
    for name, temperature in (("", 1), ("_at_temperature", 3)):
        error = multiclass_calibration_error((logits / temperature).softmax(1), labels, 4, n_bins=15)
        assert found[f"calibration_error{name}"] == pytest.approx(float(error), abs=1e-6)
    assert found["calibration_error_at_temperature"] < 0.03 < found["calibration_error"]


def test_images_are_moved_by_their_share_of_the_side():
    images = torch.zeros(200, 1, 28, 28)
    images[:, 0, 14, 14] = 1.0
    centres = moved(images, torch.Generator().manual_seed(0), share=1 / 7)
    rows, columns = torch.meshgrid(torch.arange(28.0), torch.arange(28.0), indexing="ij")
    mass = centres[:, 0] / centres[:, 0].sum((1, 2), keepdim=True)
    distance = torch.hypot((mass * rows).sum((1, 2)) - 14, (mass * columns).sum((1, 2)) - 14)
    torch.testing.assert_close(distance, torch.full((200,), 4.0), atol=1e-3, rtol=0)


def test_images_are_turned_to_both_sides_by_their_angle():
    images = torch.zeros(200, 1, 29, 29)
    images[:, 0, 14, 24] = 1.0  # ten pixels to the right of the centre
    draws = torch.Generator().manual_seed(0)
    found = turned(images, draws, degrees=30)[:, 0]
    rows = (found * torch.arange(29.0)[:, None]).sum((1, 2)) / found.sum((1, 2)) - 14
    torch.testing.assert_close(rows.abs(), torch.full((200,), 5.0), atol=0.1, rtol=0)  # 10 sin 30°
    assert 60 < (rows > 0).sum() < 140


def test_noise_has_its_deviation_where_nothing_is_cut_off():
    found = noisy(torch.full((50, 1, 28, 28), 0.5), torch.Generator().manual_seed(0), deviation=0.1)
    assert float(found.std()) == pytest.approx(0.1, rel=0.02)
    assert float(noisy(torch.zeros(50, 1, 28, 28), torch.Generator(), deviation=0.3).min()) == 0


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    classify(MNIST, ImageFlags(net="lenet5", sample=True, max_epochs=2, pictures=False, run_dir=str(folder)))
    return next(folder.glob("mnist/*"))


def test_run_gets_the_figures_of_its_test(run):
    found = robustness.main(str(run))
    kept, metrics = (json.loads((run / name).read_text()) for name in ("robustness.json", "metrics.json"))
    assert kept == found
    assert [*found["accuracy"]] == [*CHANGES]
    assert found["accuracy"]["as they are"] == pytest.approx(metrics["test/acc"], abs=1e-6)
    assert found["log_loss"] == pytest.approx(metrics["test/log_loss"], abs=1e-5)
    assert (run / "figures" / "robustness.png").exists()
    assert robustness.main(str(run)) == found


def test_figures_of_another_checkpoint_do_not_replace_those_of_the_run(run, tmp_path):
    robustness.main(str(run))
    before = (run / "robustness.json").read_text()
    robustness.main(str(run / "checkpoints" / "last.ckpt"))
    write_arrays(tmp_path / "mnist", samples.digits())
    robustness.main(str(run), data_dir=str(tmp_path))
    assert (run / "robustness.json").read_text() == before


def test_probabilities_of_each_class_by_itself_are_refused(refusal, tmp_path):
    flags = ImageFlags(net="softmax", loss="bce", sample=True, max_epochs=1, pictures=False, run_dir=str(tmp_path))
    classify(MNIST, flags)
    assert "trained with --loss bce" in refusal(robustness.main, str(next(tmp_path.glob("mnist/*"))))


def test_table_model_is_refused_in_one_line(refusal, tmp_path):
    places = dict(sample=True, run_dir=str(tmp_path), pictures=False)
    house_prices.main(house_prices.HousePriceFlags(max_epochs=1, folds=0, **places))
    said = refusal(robustness.main, str(next(tmp_path.glob("house_prices/*"))))
    assert "only classifiers of images" in said
