"""What a run needs besides its model and data, and what Lightning does not do, or not cheaply."""

from callbacks.averaging import weight_averaging
from callbacks.capture import Capture
from callbacks.checkpoints import BestCheckpoint, LastCheckpoint
from callbacks.early_stopping import EarlyStop
from callbacks.finite import FiniteGuard
from callbacks.first_step import FirstStep
from callbacks.gradient_norms import GradientNorms
from callbacks.histograms import Histograms
from callbacks.interruption import Interruption
from callbacks.lr_decay import LRDecay
from callbacks.monitor import MonitorCheck, metrics_of, monitor_mode
from callbacks.predictions import Predictions, TestOutputs
from callbacks.progress import ProgressLine
from callbacks.step_curves import StepCurves
from callbacks.throughput import Throughput

__all__ = [
    "BestCheckpoint",
    "Capture",
    "EarlyStop",
    "FiniteGuard",
    "FirstStep",
    "GradientNorms",
    "Histograms",
    "Interruption",
    "LRDecay",
    "LastCheckpoint",
    "MonitorCheck",
    "Predictions",
    "ProgressLine",
    "StepCurves",
    "TestOutputs",
    "Throughput",
    "metrics_of",
    "monitor_mode",
    "weight_averaging",
]
