"""What the page shows of an image whose label is no class: a number, or the probability of each of several labels."""

from collections.abc import Mapping, Sequence
from typing import Any

from harness.runs.checkpoints import Checkpoint
from harness.serving.uploads import data_url, uploaded
from harness.tasks.image_prediction import predict_files, reader_of
from harness.tasks.target_prediction import told_of
from lit_modules.image_regressor import ImageRegressor
from lit_modules.image_tagger import ImageTagger


class TargetAnswers:
    """Answers by a model of numbers or of several labels, or by the mean of a run's folds."""

    def __init__(self, read: Checkpoint, models: Sequence[ImageRegressor | ImageTagger]) -> None:
        self.models, self.reads = models, reader_of(read, models[0])
        self.labels = models[0].names if isinstance(models[0], ImageTagger) else []
        folds = f", the mean of {len(models)} models" if len(models) > 1 else ""
        what = f", {len(self.labels)} labels, each with a probability of its own" if self.labels else ""
        title = "What is in this image?" if self.labels else str(models[0].hparams["target"])
        self.about: Mapping[str, Any] = {"title": title, "text": f"{models[0].hparams['net']}{folds}{what}."}

    def answer(self, body: bytes) -> dict[str, Any]:
        with uploaded(body) as path:
            predicted = predict_files(self.models, [path], self.reads, skip_bad=True)
        (said,) = told_of(self.models[0], predicted.values).captions
        told = {"pictures": [("as the network sees it", data_url(predicted.shown[0]))]}
        if not self.labels:
            return {**told, "number": said}
        shares = zip(self.labels, predicted.values[0].tolist(), strict=True)
        notes = [f"Of at least one half: {said}."]
        return {**told, "shares": sorted(shares, key=lambda each: -each[1]), "notes": notes}
