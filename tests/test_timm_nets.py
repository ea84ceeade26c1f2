"""timm's networks by name; most tests need timm, which is not among the requirements."""

import json
import sys
from functools import partial

import pytest
import torch
from net_checks import blank

from experiments import evaluate, mnist, own_images
from harness.command_line.cli import cli
from harness.training.pretrained import load_weights
from lit_modules import Classifier
from lit_modules.heads import head_of
from lit_modules.nets import build_net
from lit_modules.normalise import own_normalisation

RESNET = "timm:resnet18"
FLAGS = ["--sample", "--accelerator", "cpu", "--pictures", "false", "--net", RESNET, "--max_epochs", "1"]


@pytest.fixture
def timm():
    return pytest.importorskip("timm")


def test_missing_package_is_one_line(monkeypatch, refusal):
    monkeypatch.setitem(sys.modules, "timm", None)
    assert "net timm:resnet18: needs the package timm: pip install timm" in refusal(mnist.main, *FLAGS)


def test_unknown_network_names_the_nearest(timm):
    with pytest.raises(ValueError, match=r"timm has no such network; did you mean timm:convnext_tiny"):
        build_net("timm:convnext_tinny", (3, 32, 32), 10)


@pytest.mark.parametrize("arch", ["convnext_atto", "resnet18", "vit_tiny_patch16_224", "efficientnet_b0"])
def test_network_is_timms_with_its_own_head(timm, arch):
    net = blank(f"timm:{arch}", 1, 32, 32)
    peer = timm.create_model(arch, num_classes=10)
    assert {name: p.shape for name, p in net.model.named_parameters()} == {
        name: p.shape for name, p in peer.named_parameters()
    }
    assert head_of(net) is net.model.get_classifier()
    assert net(torch.empty(2, 1, 32, 32, device="meta")).shape == (2, 10)


def test_normalisation_is_that_of_the_weights(timm):
    assert own_normalisation("timm:vit_tiny_patch16_224") == ([0.5] * 3, [0.5] * 3)  # of the paper's own weights
    assert own_normalisation("timm:resnet18") == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])  # ImageNet's
    assert own_normalisation("resnet18") is None


def test_rates_by_depth_are_those_of_timm(timm):
    model = Classifier("timm:convnext_atto", (3, 32, 32), 10, lr=1.0, layer_decay=0.75)
    peer = timm.create_model("convnext_atto", num_classes=10)
    optim = pytest.importorskip("timm.optim")
    theirs = optim.param_groups_layer_decay(peer, weight_decay=0.0, layer_decay=0.75)
    scales = {id(p): group["lr_scale"] for group in theirs for p in group["params"]}
    ours = {id(p): group["lr"] for group in model.configure_optimizers().param_groups for p in group["params"]}
    for (name, mine), other in zip(model.net.model.named_parameters(), peer.parameters(), strict=True):
        assert ours[id(mine)] == pytest.approx(scales[id(other)]), name


def test_weights_of_a_file_are_taken_over_except_the_heads(timm, tmp_path, capsys):
    torch.manual_seed(0)
    source = timm.create_model("resnet18")
    torch.save(source.state_dict(), tmp_path / "weights.pth")
    net = build_net(RESNET, (3, 32, 32), 7)
    load_weights(net, str(tmp_path / "weights.pth"))
    assert torch.equal(net.model.layer4[1].conv2.weight, source.layer4[1].conv2.weight)
    assert "new: model.fc.weight, model.fc.bias" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda path: None, "w.pth: no such file"),
        (lambda path: path.write_text("no weights"), "w.pth: has no weights of resnet18"),
        (partial(torch.save, {"other": torch.zeros(2)}), "w.pth: none of its weights fits this network"),
    ],
)
def test_file_that_has_none_is_named(timm, tmp_path, write, said):
    write(tmp_path / "w.pth")
    with pytest.raises(ValueError, match=said):
        load_weights(build_net(RESNET, (3, 32, 32), 7), str(tmp_path / "w.pth"))


@pytest.mark.slow
def test_script_trains_one_and_its_run_is_read_again(timm, tmp_path):
    cli(mnist.main, mnist.RECIPES, [*FLAGS, "--limit_train_batches", "2", "--run_dir", str(tmp_path)])
    (checkpoint,) = tmp_path.glob("mnist/*/checkpoints/best.ckpt")
    assert Classifier.load_from_checkpoint(checkpoint).hparams["mean"] == (0.485, 0.456, 0.406)


def test_run_with_the_weights_own_normalisation_is_evaluated_again(timm, tmp_path):
    places = ["--run_dir", str(tmp_path), "--limit_train_batches", "1"]
    cli(own_images.main, own_images.RECIPES, [*FLAGS, "--image_size", "32", *places])
    (run,) = tmp_path.glob("own_images/*")
    assert evaluate.main(str(run))["test/acc"] == json.loads((run / "metrics.json").read_text())["test/acc"]
