"""One training: the fit, the Trainer, the checks before it and the report after it."""
