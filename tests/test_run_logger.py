"""HPARAMS and custom scalars as TensorBoard's own reader sees them: columns of all runs, current flags, full charts."""

import json

from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.custom_scalar.custom_scalars_plugin import CustomScalarsPlugin
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.backend_context import Context
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from harness.training.run_logger import RunLogger, worth_comparing, write_flags


def read_tab(folder):
    """The columns, and the flags of each run."""
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(folder))
    multiplexer.Reload()
    context = Context(TBContext(data_provider=MultiplexerDataProvider(multiplexer, str(folder))))
    content = context.hparams_metadata(RequestContext(), "")
    experiment = context.experiment_from_metadata(RequestContext(), "", True, content, [])
    starts = {run: its[metadata.SESSION_START_INFO_TAG] for run, its in content.items()}
    flags = {run: metadata.parse_session_start_info_plugin_data(its).hparams for run, its in starts.items()}
    values = {run: {name: value.number_value for name, value in its.items()} for run, its in flags.items()}
    return [info.name for info in experiment.hparam_infos], values


def test_columns_are_those_of_all_runs_and_the_last_flags_count(tmp_path):
    for run in ("a", "b"):
        (tmp_path / run).mkdir()
    writer = SummaryWriter(str(tmp_path / "a"))  # as runs of before have it, in the file of their curves
    for summary in hparams({"lr": 0.5}, {})[1:]:
        writer._get_file_writer().add_summary(summary)
    writer.close()
    write_flags(tmp_path / "b", {"lr": 0.1, "only_b": 2})
    write_flags(tmp_path / "a", {"lr": 0.2})
    write_flags(tmp_path / "a", {"lr": 0.3, "only_a": 1})
    columns, values = read_tab(tmp_path)
    assert columns == ["lr", "only_a", "only_b"]
    assert values == {"a": {"lr": 0.3, "only_a": 1}, "b": {"lr": 0.1, "only_b": 2}}
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["events.out.tfevents.0.hparams"]


def test_flags_that_vary_come_first(tmp_path):
    """As TensorBoard orders its columns, and shows the first five of them."""
    for number, lr in enumerate((0.1, 0.2)):
        (tmp_path / str(number)).mkdir()
        write_flags(tmp_path / str(number), worth_comparing({"net": "mlp", "lr": lr, "accelerator": "cpu", "seed": 0}))
    assert read_tab(tmp_path)[0] == ["lr", "accelerator", "net", "seed"]


def test_what_runs_are_sorted_by_comes_before_other_figures(tmp_path):
    """TensorBoard sorts these columns by name, and shows the first five."""
    logger = RunLogger(tmp_path / "a", name="", version="")
    logger.log_metrics({"best/val/acc": 0.5, "epoch": 0}, 1)
    logger.log_metrics({"step/loss": 1.0, "step/lr": 0.1}, 0)
    logger.log_metrics({"train/acc": 0.4, "train/loss": 1.0, "val/acc": 0.5, "epoch": 0}, 1)
    logger.log_metrics({"test/acc": 0.5, "test/loss": 1.0}, 2)
    logger.close()
    write_flags(tmp_path / "a", {"lr": 0.1})
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(tmp_path)).Reload()
    context = Context(TBContext(data_provider=MultiplexerDataProvider(multiplexer, str(tmp_path))))
    content = context.hparams_metadata(RequestContext(), "")
    infos = context.experiment_from_metadata(RequestContext(), "", True, content, []).metric_infos
    shown = [info.name.tag for info in infos]
    assert shown[:5] == ["best/val/acc", "step/loss", "step/lr", "test/acc", "test/loss"]
    assert shown[-1] == "x_axis/epoch"


def charts(run):
    """The titles of the layout that TensorBoard shows for this folder, and the regular expressions of their charts."""
    multiplexer = EventMultiplexer().AddRunsFromDirectory(str(run))
    multiplexer.Reload()
    context = TBContext(data_provider=MultiplexerDataProvider(multiplexer, str(run)))
    layout = CustomScalarsPlugin(context).layout_impl(RequestContext(), "")
    return {
        category["title"]: [tag for chart in category["chart"] for tag in chart["multiline"]["tag"]]
        for category in (json.loads(layout)["category"] if layout else [])
    }


def test_each_chart_is_of_a_curve_that_a_run_has(tmp_path):
    logger = RunLogger(tmp_path / "a", name="", version="")
    logger.log_metrics({"step/loss": 1.0, "step/lr": 0.1}, 0)
    assert charts(tmp_path) == {}  # steps alone, as in a resumed run's first epoch, replace no layout
    logger.log_metrics({"val/acc": 0.5, "epoch": 0}, 1)
    logger.log_metrics({"train/loss": 0.5, "train/acc": 0.5, "train/samples_per_second": 9, "train/seconds": 1}, 1)
    logger.close()
    pairs = ["train/loss$", "val/loss$", "train/acc$", "val/acc$"]
    expected = {
        "training and validation: loss, acc": pairs,
        "speed and learning rate": ["train/samples_per_second$", "step/lr$"],
    }
    assert charts(tmp_path) == expected
    for name in ("b", "c"):  # a run of another task has charts of its own, once
        other = RunLogger(tmp_path / name, name="", version="")
        other.log_metrics({"train/loss": 0.5, "train/mae": 0.5}, 1)
        other.close()
    other = {"training and validation: loss, mae": ["train/loss$", "val/loss$", "train/mae$", "val/mae$"]}
    assert charts(tmp_path) == expected | other
