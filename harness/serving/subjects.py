"""Which page a checkpoint gets."""

from basics.errors import InputError
from harness.runs.checkpoints import find_checkpoints, read_checkpoint
from harness.serving.images import ImageAnswers
from harness.serving.masks import MaskAnswers
from harness.serving.neighbours import NeighbourAnswers
from harness.serving.rows import RowAnswers
from harness.serving.server import Answers
from harness.serving.targets import TargetAnswers
from harness.tasks.decisions import decision_for
from harness.tasks.image_prediction import names_of
from harness.tasks.row_prediction import load_row_model
from harness.tasks.trained import load_model
from lit_modules import Classifier
from lit_modules.image_regressor import ImageRegressor
from lit_modules.image_tagger import ImageTagger
from lit_modules.segmenter import Segmenter


def answers_of(source: str, threshold: float | None = None) -> Answers:
    """What answers for a run, its folds, or a checkpoint file.

    Args:
        threshold: of two classes; see `decision_for`.

    Raises:
        InputError: it is none, or there is no page for its model.
    """
    paths = find_checkpoints(source)
    read = read_checkpoint(paths[0])
    if "preprocessing" in read.content["hyper_parameters"]:
        rows = [load_row_model(path) for path in paths]
        return RowAnswers(paths[0], rows, decision_for(paths, rows[0].hparams["preprocessing"]["classes"], threshold))
    models = [load_model(read_checkpoint(path)) for path in paths]
    if classifiers := [model for model in models if isinstance(model, Classifier)]:
        return ImageAnswers(read, classifiers, decision_for(paths, names_of(classifiers[0]), threshold))
    decision_for(paths, [], threshold)  # refuses one, as nothing here has two classes
    if others := [model for model in models if isinstance(model, ImageRegressor | ImageTagger)]:
        return TargetAnswers(read, others)
    if isinstance(models[0], Segmenter):
        return MaskAnswers(models[0])
    if "embedding_size" in models[0].hparams:
        return NeighbourAnswers(read, models[0])
    raise InputError(f"{read.path}: holds a {type(models[0]).__name__}, which has no page")
