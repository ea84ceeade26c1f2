"""What a run needs besides its model and data, and Lightning does not do or does not do cheaply."""

from callbacks.averaging import weight_averaging
from callbacks.checkpoints import EpochCheckpoint
from callbacks.gradient_norms import GradientNorms
from callbacks.interruption import Interruption
from callbacks.lr_decay import LRDecay
from callbacks.monitor import MonitorCheck, monitor_mode
from callbacks.progress import ProgressLine
from callbacks.step_curves import StepCurves
from callbacks.throughput import Throughput

__all__ = [
    "EpochCheckpoint",
    "GradientNorms",
    "Interruption",
    "LRDecay",
    "MonitorCheck",
    "ProgressLine",
    "StepCurves",
    "Throughput",
    "monitor_mode",
    "weight_averaging",
]
