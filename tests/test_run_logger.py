"""The HPARAMS tab as TensorBoard's own reader sees it: the columns of all runs, and a resumed run's current flags."""

from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins.base_plugin import TBContext
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.backend_context import Context
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from harness.training.run_logger import write_flags


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
    return {info.name for info in experiment.hparam_infos}, values


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
    assert columns == {"lr", "only_a", "only_b"}
    assert values == {"a": {"lr": 0.3, "only_a": 1}, "b": {"lr": 0.1, "only_b": 2}}
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["events.out.tfevents.0.hparams"]
