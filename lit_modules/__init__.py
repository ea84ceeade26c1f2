"""Networks, and one LightningModule per task that wraps any of them."""

from lit_modules.classifier import Classifier

__all__ = ["Classifier"]
