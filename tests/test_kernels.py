"""Which kernels a GPU computes with: what is chosen, what is refused, and what a command prints about it."""

import os

import pytest
import torch
import torch.utils.deterministic
from torch import nn
from torch.autograd import Function

import lit_modules.nets as package
from experiments import mnist
from harness.command_line.cli import cli
from harness.training.flags import TrainerFlags
from harness.training.kernels import choose_kernels
from harness.training.trainer import build_trainer

CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


@pytest.fixture(autouse=True)
def own_flags(monkeypatch):
    """Puts back torch's flags, which are the process's."""
    mode, benchmark = torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark
    fills = torch.utils.deterministic.fill_uninitialized_memory
    monkeypatch.setenv(WORKSPACE, "")  # so that it is put back
    monkeypatch.delenv(WORKSPACE)
    yield
    torch.set_deterministic_debug_mode(mode)
    torch.backends.cudnn.benchmark, torch.utils.deterministic.fill_uninitialized_memory = benchmark, fills


def chosen():
    return torch.get_deterministic_debug_mode(), torch.backends.cudnn.benchmark


EXACT, WARNS, FAST = 2, 1, 0  # torch's numbers for "error", "warn" and "default"


@pytest.mark.parametrize(
    ("deterministic", "chooses", "expected"),
    [
        (None, None, (EXACT, False)),
        (True, None, (EXACT, False)),
        (True, False, (EXACT, False)),
        ("warn", None, (WARNS, False)),
        (False, None, (FAST, True)),
        (False, False, (FAST, False)),
        (False, True, (FAST, True)),
    ],
)
def test_kernels_of_a_gpu_repeat_themselves_unless_told_otherwise(deterministic, chooses, expected):
    torch.backends.cudnn.benchmark = not expected[1]
    choose_kernels(CUDA, deterministic, chooses)
    assert chosen() == expected
    assert os.environ.get(WORKSPACE) == (None if deterministic is False else ":4096:8")


def test_new_tensors_are_not_filled_for_it():
    torch.utils.deterministic.fill_uninitialized_memory = True
    choose_kernels(CUDA, None, None)
    assert not torch.utils.deterministic.fill_uninitialized_memory


@pytest.mark.parametrize("mode", [FAST, WARNS, EXACT])
@pytest.mark.parametrize("chooses", [False, True])  # `benchmark` is a fixture of pytest-benchmark
def test_nothing_changes_on_a_cpu(mode, chooses):
    torch.set_deterministic_debug_mode(mode)
    torch.backends.cudnn.benchmark = chooses
    choose_kernels(CPU, None, None)
    assert chosen() == (mode, chooses)
    assert WORKSPACE not in os.environ


@pytest.mark.parametrize("value", [":16:8", ":4096:8"])
def test_workspace_of_the_users_own_is_kept(monkeypatch, value):
    monkeypatch.setenv(WORKSPACE, value)
    choose_kernels(CUDA, True, None)
    assert os.environ[WORKSPACE] == value


@pytest.mark.parametrize("deterministic", [None, True, "warn"])
def test_what_contradicts_itself_is_refused(monkeypatch, deterministic):
    with pytest.raises(ValueError, match=r"^benchmark true: .*--deterministic false"):
        choose_kernels(CUDA, deterministic, True)
    monkeypatch.setenv(WORKSPACE, ":0:0")
    with pytest.raises(ValueError, match=f"^{WORKSPACE} ':0:0': .*--deterministic false"):
        choose_kernels(CUDA, deterministic, None)
    choose_kernels(CUDA, False, True)


@pytest.fixture
def one_card(monkeypatch):
    """Lets torch and Lightning see a GPU that is not there."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)


@pytest.fixture
def no_card(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)


@pytest.mark.parametrize("accelerator", ["auto", "gpu", "cuda"])
def test_trainer_chooses_by_the_device_that_it_finds(one_card, accelerator):
    build_trainer(TrainerFlags(accelerator=accelerator, devices=1))
    assert chosen() == (EXACT, False)
    build_trainer(TrainerFlags(accelerator=accelerator, devices=1, deterministic=False))
    assert chosen() == (FAST, True)


def test_trainer_on_the_cpu_of_a_machine_with_a_card_changes_nothing(one_card):
    before = chosen()
    build_trainer(TrainerFlags(accelerator="cpu"))
    assert chosen() == before


QUICK = ["--sample", "--net", "softmax", "--max_epochs", "1", "--pictures", "false"]


def test_more_cards_than_there_are_is_one_line(one_card, refusal):
    line = refusal(mnist.main, *QUICK, "--accelerator", "cuda", "--devices", "3")
    assert line.startswith("error: accelerator cuda, devices 3: ")
    assert "[0, 1, 2]" in line  # wanted
    assert "[0]" in line  # there


@pytest.mark.parametrize("accelerator", ["cuda", "gpu"])
def test_card_where_there_is_none_is_one_line(no_card, refusal, accelerator):
    assert "accelerator" in refusal(mnist.main, *QUICK, "--accelerator", accelerator).lower()


class _Put(Function):
    """The identity, with an operator backward that torch has no deterministic form of, on the CPU either."""

    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        return torch.zeros_like(gradient).put_(torch.arange(gradient.numel()), gradient.contiguous())


class PutsBack(nn.Module):
    def __init__(self, input_shape, num_outputs):
        super().__init__()
        self.linear = nn.Linear(28 * 28, num_outputs)

    def forward(self, x):
        return _Put.apply(self.linear(x.flatten(1)))


@pytest.fixture
def puts_back(monkeypatch):
    nets = package.nets()
    monkeypatch.setattr(package, "nets", lambda: nets | {"putsback": PutsBack})
    return [*QUICK, "--net", "putsback", "--accelerator", "cpu", "--limit_train_batches", "2"]


def test_operator_without_exact_form_is_named_in_one_line(tmp_path, capsys, puts_back):
    with pytest.raises(SystemExit) as end:
        cli(mnist.main, {}, [*puts_back, "--run_dir", str(tmp_path), "--deterministic", "true"])
    assert end.value.code == 2
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("error: "))
    assert line.startswith("error: --deterministic: put_ has no deterministic kernel; --deterministic false")
    assert not list(tmp_path.glob("**/*.ckpt"))


@pytest.mark.parametrize("choice", [[], ["--deterministic", "false"]])
def test_it_trains_where_nothing_has_to_repeat_itself(tmp_path, puts_back, choice):
    cli(mnist.main, {}, [*puts_back, "--run_dir", str(tmp_path), *choice])
    assert list(tmp_path.glob("mnist/*/metrics.json"))


def test_it_trains_and_is_told_of_with_warn(tmp_path, puts_back):
    with pytest.warns(UserWarning, match="put_ does not have a deterministic implementation"):
        cli(mnist.main, {}, [*puts_back, "--run_dir", str(tmp_path), "--deterministic", "warn"])


def test_other_errors_of_torch_keep_their_traceback():
    def main(size: int = 3) -> None:
        torch.ones(2) @ torch.ones(size)

    with pytest.raises(RuntimeError, match="size"):
        cli(main, args=[])


def test_resumed_run_keeps_its_kernels(tmp_path, capsys):
    flags = [*QUICK, "--accelerator", "cpu", "--limit_train_batches", "2", "--run_dir", str(tmp_path)]
    cli(mnist.main, {}, flags)
    (run,) = tmp_path.glob("mnist/*")
    with pytest.raises(SystemExit):
        cli(mnist.main, {}, ["--resume", str(run), "--deterministic", "false"])
    assert f"--deterministic False: {run} was started with None" in capsys.readouterr().err
