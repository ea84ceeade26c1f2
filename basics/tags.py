"""Names in TensorBoard that one package writes and another reads. Its pages show groups in the order of their names."""

PICTURES = "visuals"  # after the curves in train/ and val/
# The epoch, from 0, at each step of the curves, in the last group; of older runs the second.
EPOCH_CURVES = ("x_axis/epoch", "epoch")
