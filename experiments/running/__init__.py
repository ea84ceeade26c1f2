"""What happens around training: run directories, checkpoints and resuming, the Trainer, signals, the report."""
