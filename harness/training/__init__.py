"""One training: fit, Trainer, checks before it, and the report after it."""
