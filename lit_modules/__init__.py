"""Networks, and one LightningModule per task that wraps any of them."""

from lit_modules.classifier import Classifier
from lit_modules.regressor import Regressor
from lit_modules.row_classifier import RowClassifier

__all__ = ["Classifier", "Regressor", "RowClassifier"]
