"""What scripts do: train on images or tables, cross-validate, study."""
