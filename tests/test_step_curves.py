"""StepCurves: the loss and the learning rate of single steps."""

import math

import pytest
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from callbacks import LRDecay, StepCurves
from datamodules import MNIST
from lit_modules import Classifier


def curves_of(folder, lr, *callbacks, points=0, **flags):
    """The steps and values of `step/loss` and `step/lr` of a run that starts from weights of 0."""
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=1,
        logger=TensorBoardLogger(folder, name="", version=""),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[*callbacks, StepCurves(points)],
        **flags,
    )
    model = Classifier("softmax", (1, 28, 28), 10, lr=lr)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    trainer.fit(model, MNIST(sample=True))
    events = EventAccumulator(str(folder)).Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag.startswith("step/")]
    return {
        tag: {"steps": [e.step for e in events.Scalars(tag)], "values": [e.value for e in events.Scalars(tag)]}
        for tag in tags
    }


def test_rate_is_that_of_the_step(tmp_path):
    curves = curves_of(tmp_path, 0.1, LRDecay("cosine"), limit_train_batches=6, log_every_n_steps=2)
    assert set(curves) == {"step/loss", "step/lr"}
    assert curves["step/loss"]["steps"] == curves["step/lr"]["steps"] == [1, 3, 5]  # from 0
    # The second, fourth and sixth of six steps down half a cosine: at 30, 90 and 150 degrees.
    degrees = [0.1 * (1 + math.cos(math.radians(angle))) / 2 for angle in (30, 90, 150)]
    assert curves["step/lr"]["values"] == pytest.approx(degrees)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_each_step_has_one_point_with_its_loss(tmp_path, accumulate):
    flags = dict(limit_train_batches=3 * accumulate, accumulate_grad_batches=accumulate, log_every_n_steps=1)
    loss = curves_of(tmp_path, 0.0, **flags)["step/loss"]
    assert loss["values"] == pytest.approx([math.log(10)] * len(loss["steps"]))  # equal logits, and no learning
    assert loss["steps"] == [0, 1, 2]


@pytest.mark.parametrize(
    ("points", "every", "steps"),
    [(4, 50, [1, 3, 5, 7]), (100, 50, [*range(8)]), (4, 1, [*range(8)]), (1, 3, [2, 5]), (4, 0, [])],
)
def test_short_run_has_enough_points(tmp_path, points, every, steps):
    curves = curves_of(tmp_path, 0.1, points=points, limit_train_batches=8, log_every_n_steps=every)
    assert [curve["steps"] for curve in curves.values()] == [steps] * len(curves)
    assert bool(curves) == bool(steps)
