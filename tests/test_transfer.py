"""Starting from trained weights: what is copied, what learns when, and what is refused."""

import json

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from net_checks import blank
from torch import nn

from datamodules import MNIST
from experiments import finetune, mnist
from harness.command_line.cli import cli
from harness.runs.states import read_config
from harness.tasks.classification import ImageFlags, pixels_of
from lit_modules import Classifier
from lit_modules import nets as package
from lit_modules.heads import head_of
from lit_modules.nets import build_net, nets
from lit_modules.normalise import Normalise, own_normalisation
from lit_modules.transfer import load_backbone

QUIET = dict(accelerator="cpu", devices=1, logger=False, enable_progress_bar=False, enable_model_summary=False)
FLAGS = ["--sample", "--accelerator", "cpu", "--pictures", "false"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The run directory of a net trained on the digits."""
    folder = tmp_path_factory.mktemp("trained")
    cli(mnist.main, mnist.RECIPES, [*FLAGS, "--net", "cnn", "--max_epochs", "2", "--run_dir", str(folder)])
    return next(folder.glob("mnist/*"))


ARCHS = ("squeezenet1_1", "mobilenet_v3_small", "alexnet", "densenet121", "vit_b_16", "googlenet", "inception_v3")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in sorted(set(nets()) - {"tabm"})),
        *(("imagenet", {"arch": arch}) for arch in ARCHS),
    ],
)
def test_head_is_the_last_layer_with_weights_and_makes_the_outputs(name, options):
    net, calls = blank(name, 3, 32, 32, **options).eval(), []
    for module in net.modules():
        if any(True for _ in module.parameters()) and not any(module.children()):
            module.register_forward_hook(lambda module, given, made: calls.append((module, made)))
    net(torch.empty(2, 3, 32, 32, device="meta"))
    module, made = calls[-1]
    assert head_of(net) is module
    assert made.shape[1] == 10


@pytest.mark.parametrize("arch", ["googlenet", "inception_v3"])
def test_inputs_of_torchvisions_inceptions_are_in_minus_1_to_1_as_their_weights_expect(arch):
    net, images = blank("imagenet", 3, 32, 32, arch=arch), torch.rand(2, 3, 8, 8)
    normalised = Normalise(*own_normalisation("imagenet"))(images)
    torch.testing.assert_close(net.model._transform_input(normalised), 2 * images - 1)


def test_torchvisions_weights_get_the_pixels_that_they_were_trained_on():
    data = MNIST(sample=True)
    data.setup()
    others = {name: pixels_of(data, ImageFlags(net=name))["mean"] for name in ("imagenet", "cnn")}
    assert others == {"imagenet": [0.485, 0.456, 0.406], "cnn": data.mean}


@pytest.mark.parametrize("linear_path", [False, True])
@pytest.mark.parametrize("embedding", ["none", "periodic"])
def test_head_of_an_ensemble_is_all_that_its_outputs_are_made_with(linear_path, embedding):
    net = build_net("tabm", (5,), 3, widths=[8], numbers=2, embedding=embedding, linear_path=linear_path)
    linear = list(net.linear.parameters()) if linear_path else []
    assert set(head_of(net).parameters()) == {net.heads, net.head_bias, *linear}


OWN_NETS = """
from torch import nn
__all__ = ["Twisted", "Named", "Nameless", "Wrong"]

class Twisted(nn.Module):  # its output layer is the first
    def __init__(self, input_shape, num_outputs):
        super().__init__()
        self.output, self.hidden = nn.Linear(20, num_outputs), nn.Linear(784, 20)

    def forward(self, x):
        return self.output(self.hidden(x.flatten(1)))

class Named(Twisted):
    def __init__(self, input_shape, num_outputs):
        super().__init__(input_shape, num_outputs)
        self.head, self.more = nn.Linear(num_outputs, num_outputs), nn.Linear(num_outputs, num_outputs)

class Nameless(nn.Module):
    def __init__(self, input_shape, num_outputs):
        super().__init__()
        self.matrix = nn.Parameter(0.1 * __import__("torch").randn(784, num_outputs))

    def forward(self, x):
        return x.flatten(1) @ self.matrix

class Wrong(Twisted):
    head = "outptu"
"""


@pytest.fixture
def own_nets(tmp_path, monkeypatch):
    (tmp_path / "brought_by_the_test_of_heads.py").write_text(OWN_NETS)
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    monkeypatch.setattr(package, "_files", package._files.__wrapped__)


def test_nets_of_ones_own_need_not_name_their_head(own_nets):
    twisted, named = build_net("twisted", (1, 28, 28), 10), build_net("named", (1, 28, 28), 10)
    assert head_of(twisted) is twisted.output
    assert head_of(named) is named.head


@pytest.mark.parametrize("options", [{"backbone_lr": 0.01}, {"freeze_epochs": 1}, {"optimizer": "muon"}])
def test_net_without_a_head_is_told_how_to_name_it(own_nets, options):
    Classifier("nameless", (1, 28, 28), 10)  # which needs none
    with pytest.raises(ValueError, match='net Nameless: names no head; say `head = "<name'):
        Classifier("nameless", (1, 28, 28), 10, **options)
    with pytest.raises(ValueError, match="net Wrong: its head 'outptu' is neither a layer"):
        Classifier("wrong", (1, 28, 28), 10, **options)


def test_all_but_the_head_is_taken_over():
    source, target = (build_net("cnn", (1, 28, 28), outputs) for outputs in (10, 10))
    fresh = target.classifier[-1].weight.detach().clone()
    transfer = load_backbone(target, source.state_dict())
    for name, tensor in target.state_dict().items():
        assert torch.equal(tensor, source.state_dict()[name]) == (
            name != "classifier.4.weight" and "4.bias" not in name
        )
    assert torch.equal(target.classifier[-1].weight, fresh)
    assert transfer.new == transfer.unused == ["classifier.4.weight", "classifier.4.bias"]


def test_layers_of_another_shape_stay_new():
    source, target = build_net("resnet18", (1, 28, 28), 10), build_net("resnet18", (3, 32, 32), 100)
    transfer = load_backbone(target, source.state_dict())
    assert transfer.new == ["stem.0.weight", "classifier.weight", "classifier.bias"]
    assert torch.equal(target.stages[3][1].residual[0].weight, source.stages[3][1].residual[0].weight)


def test_weights_of_another_architecture_are_refused():
    with pytest.raises(ValueError, match="another architecture"):
        load_backbone(build_net("cnn", (1, 28, 28), 10), build_net("mlp", (1, 28, 28), 10).state_dict())


class Watch(Callback):
    """Keeps the weights at the end of each epoch."""

    def __init__(self):
        self.states = []

    def on_train_epoch_end(self, trainer, pl_module):
        self.states.append({name: tensor.clone() for name, tensor in pl_module.net.state_dict().items()})


def test_frozen_epochs_change_the_head_only():
    data = MNIST(sample=True, batch_size=256)
    data.setup()
    model = Classifier("cnn", data.input_shape, 10, data.mean, data.std, lr=0.1, weight_decay=0.1, freeze_epochs=2)
    before = {name: tensor.clone() for name, tensor in model.net.state_dict().items()}
    watch = Watch()
    Trainer(**QUIET, max_epochs=3, callbacks=[watch], enable_checkpointing=False).fit(model, data)
    changed = [{name for name in before if not torch.equal(before[name], state[name])} for state in watch.states]
    assert changed[0] == changed[1] == {"classifier.4.weight", "classifier.4.bias"}
    assert changed[2] == set(before)  # BatchNorm's statistics with the rest


def test_run_that_ends_before_its_frozen_epochs_leaves_a_network_that_can_learn():
    data = MNIST(sample=True, batch_size=256)
    model = Classifier("lenet5", data.input_shape, 10, freeze_epochs=2)
    Trainer(**QUIET, max_epochs=1, limit_train_batches=1, enable_checkpointing=False).fit(model, data)
    assert all(parameter.requires_grad for parameter in model.net.parameters())


def test_weights_that_a_network_keeps_from_learning_stay_so_when_the_others_thaw():
    data = MNIST(sample=True, batch_size=256)
    model = Classifier("lenet5", data.input_shape, 10, lr=0.1, freeze_epochs=1)
    fixed, *others = model.net.parameters()
    before = fixed.requires_grad_(False).clone(), others[0].detach().clone()
    Trainer(**QUIET, max_epochs=2, limit_train_batches=1, enable_checkpointing=False).fit(model, data)
    assert torch.equal(fixed, before[0]) and not fixed.requires_grad
    assert not torch.equal(others[0], before[1])


def test_backbone_has_its_own_learning_rate():
    model = Classifier("mlp", (1, 28, 28), 10, lr=0.5, momentum=0.0, backbone_lr=0.125)
    before = [p.detach().clone() for p in model.net.parameters()]
    optimizer = model.configure_optimizers()
    for parameter in model.net.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    moved = [(old - new).max().item() for old, new in zip(before, model.net.parameters(), strict=True)]
    assert moved[-2:] == pytest.approx([0.5, 0.5])
    assert moved[:-2] == pytest.approx([0.125] * len(moved[:-2]))


def test_finetuning_runs_as_a_whole_and_says_what_was_loaded(tmp_path, trained, capsys):
    flags = [*FLAGS, "--data", "fashion_mnist", "--freeze_epochs", "1", "--max_epochs", "4", "--run_dir", str(tmp_path)]
    cli(finetune.main, args=[str(trained), *flags])
    printed = capsys.readouterr().out
    total = sum(tensor.numel() for tensor in build_net("cnn", (1, 28, 28), 10).state_dict().values())
    assert f"{total - 2570:,} of {total:,} numbers" in printed
    assert "new: classifier.4.weight, classifier.4.bias" in printed
    run = next(tmp_path.glob("fashion_mnist/*"))
    assert json.loads((run / "metrics.json").read_text())["test/acc"] > 0.85  # its sample is the digits again
    kept = read_config(run)
    assert (kept["net"], kept["init_from"]) == ("cnn", str(trained))


def test_config_of_a_finetuned_run_starts_another_but_for_another_net(tmp_path, trained, refusal):
    flags = [*FLAGS, "--data", "fashion_mnist", "--max_epochs", "1", "--limit_train_batches", "2"]
    cli(finetune.main, args=[str(trained), *flags, "--run_dir", str(tmp_path / "one")])
    (run,) = tmp_path.glob("one/*/*")
    again = ["--config", str(run / "config.yaml"), "--run_dir", str(tmp_path / "two")]
    cli(finetune.main, args=again)
    (other,) = tmp_path.glob("two/*/*")
    assert {**read_config(other), "run_dir": ""} == {**read_config(run), "run_dir": ""}
    assert "--net: the network and its weights are those of" in refusal(finetune.main, *again, "--net", "mlp")


@pytest.mark.slow
def test_finetuned_run_resumes_without_its_source(tmp_path, trained):
    copy = tmp_path / "source.ckpt"
    copy.write_bytes((trained / "checkpoints" / "best.ckpt").read_bytes())
    flags = [*FLAGS, "--data", "fashion_mnist", "--max_epochs", "1", "--run_dir", str(tmp_path)]
    cli(finetune.main, args=[str(copy), *flags])
    run = next(tmp_path.glob("fashion_mnist/*"))
    copy.unlink()
    cli(finetune.main, args=["--resume", str(run), "--max_epochs", "2"])
    assert json.loads((run / "metrics.json").read_text())["epochs"] == 2


@pytest.mark.slow
def test_torchvision_weights_are_taken_over(tmp_path, monkeypatch, capsys):
    from torchvision.models import ResNet18_Weights, resnet18

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    official = resnet18()  # random weights under the official file's name, which is looked for before downloading
    torch.save(official.state_dict(), tmp_path / "checkpoints" / ResNet18_Weights.DEFAULT.url.rpartition("/")[2])
    flags = [*FLAGS, "--fast_dev_run", "1", "--batch_size", "2"]
    cli(finetune.main, args=["torchvision:resnet18", *flags, "--net_args.size", "32"])
    assert "new: model.fc.weight, model.fc.bias" in capsys.readouterr().out


def test_torchvisions_transformers_take_the_size_that_is_asked_for():
    net = blank("imagenet", 3, 32, 32, arch="vit_b_32", size=96)
    assert net(torch.empty(2, 3, 32, 32, device="meta")).shape == (2, 10)
    assert net.model.encoder.pos_embedding.shape[1] == 3 * 3 + 1  # patches of 32 pixels, and the class token


@pytest.mark.parametrize("size", [64, 100])
def test_torchvisions_networks_see_enlarged_colour_images(size):
    net = build_net("imagenet", (1, 28, 28), 10, arch="squeezenet1_1", size=size).eval()
    seen = []
    net.model.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    grey = torch.rand(2, 1, 28, 28)
    net(grey)
    (x,) = seen
    assert x.shape == (2, 3, size, size)
    assert torch.equal(x[:, 0], x[:, 2])
    expected = nn.functional.interpolate(grey, size=(size, size), mode="bilinear")
    torch.testing.assert_close(x[:, :1], expected)


def test_missing_checkpoint_is_one_line(tmp_path, refusal):
    assert "no checkpoint at" in refusal(finetune.main, str(tmp_path), *FLAGS)


def test_truncated_checkpoint_is_one_line(tmp_path, trained, refusal):
    whole = (trained / "checkpoints" / "best.ckpt").read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 100):
        (tmp_path / "cut.ckpt").write_bytes(whole[:size])
        assert f"{tmp_path / 'cut.ckpt'}: cut off" in refusal(finetune.main, str(tmp_path / "cut.ckpt"), *FLAGS)


def test_file_that_is_no_checkpoint_of_ours_is_one_line(tmp_path, refusal):
    torch.save({"weights": torch.zeros(3)}, tmp_path / "other.ckpt")
    assert "not a checkpoint of this project" in refusal(finetune.main, str(tmp_path / "other.ckpt"), *FLAGS)


def test_checkpoint_with_code_in_it_is_not_run(tmp_path, capsys, refusal):
    class Trap:
        def __reduce__(self):
            return (print, ("executed",))

    torch.save({"state_dict": {}, "hyper_parameters": {}, "trap": Trap()}, tmp_path / "trap.ckpt")
    refusal(finetune.main, str(tmp_path / "trap.ckpt"), *FLAGS)
    assert "executed" not in capsys.readouterr().out


def test_unknown_data_set_or_torchvision_network_is_one_line(trained, refusal):
    assert "did you mean cifar10" in refusal(finetune.main, str(trained), "--data", "cifar", *FLAGS)
    assert "resnet17" in refusal(finetune.main, "torchvision:resnet17", *FLAGS)


def test_resuming_from_another_network_or_class_count_is_one_line(tmp_path, trained, refusal):
    for flags, named in [
        (["--net", "mlp"], "--net mlp"),
        (["--net_args.widths", "[8, 8, 8]"], "--net_args {'widths': [8, 8, 8]}"),
    ]:
        line = refusal(mnist.main, "--resume", str(trained), *flags, recipes=mnist.RECIPES)
        assert named in line and "was started with" in line
