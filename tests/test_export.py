"""Exported files: what other programs read from them, for every net, and what is refused."""

import json
import re
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from lightning.pytorch import Trainer
from net_checks import randomise_norms

from datamodules import samples
from datamodules.arrays import write_arrays
from experiments import evaluate, export, mnist
from harness.command_line.cli import cli
from lit_modules import Classifier
from lit_modules import nets as package
from lit_modules.embedder import Embedder
from lit_modules.nets import nets

QUIET = dict(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
GREY, COLOUR = (1, 28, 28), (3, 32, 32)
IMAGES = {GREY: samples.digits().test_images[:24], COLOUR: samples.shapes().test_images[:24]}
OPTIONS = {"imagenet": {"size": 48}}


def as_input(images):
    """Values in 0..1, (B, C, H, W)."""
    images = images[..., None] if images.ndim == 3 else images
    return torch.from_numpy(images.transpose(0, 3, 1, 2) / np.float32(255))


def make_model(net, shape, **options):
    """A model whose BatchNorms have scales of their own, and the statistics of some images."""
    torch.manual_seed(0)
    mean, std = ([0.2], [0.3]) if shape == GREY else ([0.5, 0.4, 0.3], [0.2, 0.25, 0.3])
    model = Classifier(net, shape, 10, mean, std, net_args=OPTIONS.get(net), **options)
    randomise_norms(model)
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0  # the statistics of what passes, in place of those drawn
            module.reset_running_stats()
    with torch.no_grad():
        model.train()(as_input(IMAGES[shape]))
    return model.eval()


def save(model, path):
    trainer = Trainer(**QUIET)
    trainer.strategy.connect(model)
    trainer.save_checkpoint(path)
    return path


def export_to(path, *flags):
    """Exports, loads the file in onnxruntime, and returns a function from images to all outputs."""
    cli(export.main, None, [str(path), "--images", "24", *flags])
    session = onnxruntime.InferenceSession(path.with_suffix(".onnx"))
    return lambda images: session.run(None, {"images": images})


def assert_exports(tmp_path, net, shape, **options):
    model = make_model(net, shape, **options)
    predict = export_to(save(model, tmp_path / "model.ckpt"))
    parts = np.split(IMAGES[shape], [1, 3, 10])  # 1, 2, 7 and 14 images
    probabilities, logits = map(np.concatenate, zip(*(predict(part) for part in parts), strict=True))
    with torch.no_grad():
        expected = model(as_input(IMAGES[shape]))
    assert expected.std(0).max() > 1e-3  # else any images would do
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)
    np.testing.assert_allclose(probabilities, expected.softmax(1), rtol=0, atol=1e-4)
    assert (probabilities.argmax(1) == expected.argmax(1).numpy()).all()


@pytest.mark.parametrize(
    ("net", "shape", "options"),
    [
        ("cnn", GREY, {}),
        pytest.param("speednet", COLOUR, {"test_flip": True, "test_shift": 1}, marks=pytest.mark.slow),
        ("tabm", GREY, {}),
    ],
)
def test_exported_net_is_the_checkpoint(tmp_path, net, shape, options):
    assert_exports(tmp_path, net, shape, **options)


@pytest.mark.slow
@pytest.mark.parametrize("shape", [GREY, COLOUR], ids=["28x28x1", "32x32x3"])
@pytest.mark.parametrize("net", sorted(set(nets()) - {"linear"}))  # linear starts at 0, and is softmax otherwise
def test_every_net_exports(tmp_path, net, shape):
    assert_exports(tmp_path, net, shape)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The run directory of a net trained on digits, 40 of which are its test set."""
    folder = tmp_path_factory.mktemp("trained")
    digits = samples.digits()
    arrays = digits._replace(test_images=255 - digits.test_images[:40], test_labels=digits.test_labels[:40])
    write_arrays(folder / "data" / "mnist", arrays)
    flags = [*"--net softmax --max_epochs 1 --accelerator cpu --pictures false --run_dir".split(), str(folder)]
    cli(mnist.main, mnist.RECIPES, [*flags, "--data_dir", str(folder / "data")])
    return next(folder.glob("mnist/*"))


def test_a_run_is_compared_on_its_own_test_images_and_says_what_it_is(trained, capsys):
    cli(export.main, None, [str(trained), "--force"])
    assert "on 40 test images of mnist" in capsys.readouterr().out
    model = onnx.load(trained / "checkpoints" / "best.onnx")
    onnx.checker.check_model(model)
    said = {prop.key: prop.value for prop in model.metadata_props}
    assert json.loads(said["classes"]) == list("0123456789")
    assert said["net"] == "softmax"
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
    assert said["input"] == "images: uint8, (B, 28, 28), grey, 0 to 255"


def test_run_without_its_data_is_compared_on_the_sample(tmp_path, capsys):
    save(Classifier("softmax", (3, 40, 40), 7), tmp_path / "model.ckpt")  # own images, say
    cli(export.main, None, [str(tmp_path / "model.ckpt"), "--images", "9"])
    assert "on 9 images of the embedded sample" in capsys.readouterr().out


@pytest.mark.filterwarnings("error:No complete tensor")
def test_torch_export_gives_the_same_and_says_what_it_is(tmp_path):
    model = make_model("cnn", COLOUR)
    cli(export.main, None, [str(save(model, tmp_path / "model.ckpt")), "--format", "torch", "--images", "24"])
    texts = {"metadata.json": ""}
    module = torch.export.load(tmp_path / "model.pt2", extra_files=texts).module()
    for count in (1, 2, 7, 24):
        images = IMAGES[COLOUR][:count]
        probabilities, logits = module(torch.from_numpy(images))
        expected = model(as_input(images))
        torch.testing.assert_close(logits, expected, rtol=0, atol=1e-5)
        torch.testing.assert_close(probabilities, expected.softmax(1), rtol=0, atol=1e-5)
    assert json.loads(texts["metadata.json"])["net"] == "cnn"


def test_embedder_exports_its_embeddings(tmp_path):
    model = Embedder("lenet5", GREY, 10, [0.2], [0.3], embedding_size=5).eval()
    (embeddings,) = export_to(save(model, tmp_path / "model.ckpt"))(IMAGES[GREY])
    with torch.no_grad():
        np.testing.assert_allclose(embeddings, model(as_input(IMAGES[GREY])), rtol=0, atol=1e-4)


def test_small_checkpoint_says_the_same_in_a_fraction_of_the_bytes(trained, tmp_path, capsys):
    small = tmp_path / "mine.small.ckpt"
    cli(export.main, None, [str(trained), "--format", "small", "--output", str(small), "--images", "24"])
    source = trained / "checkpoints" / "best.ckpt"
    assert small.stat().st_size < source.stat().st_size / 3
    assert "MB; images: uint8, (B, 28, 28), grey" in capsys.readouterr().out
    whole, half = (evaluate.main(str(path)) for path in (source, small))
    assert half["test/samples"] == whole["test/samples"] == 40
    assert half["test/acc"] == pytest.approx(whole["test/acc"], abs=1 / 40)  # one image may fall to the other side
    assert half["test/loss"] == pytest.approx(whole["test/loss"], rel=1e-2)
    weights = torch.load(small, weights_only=True)["state_dict"]
    assert {its.dtype for its in weights.values() if its.is_floating_point()} == {torch.float16}
    assert export_to(small)(IMAGES[GREY])[0].shape == (24, 10)  # an export like any other
    read = Classifier.load_from_checkpoint(small, map_location="cpu")
    assert all(torch.equal(its, weights[name].to(its.dtype)) for name, its in read.state_dict().items())


def test_small_checkpoint_is_not_resumed(trained, capsys):
    cli(export.main, None, [str(trained), "--format", "small", "--images", "24", "--force"])
    with pytest.raises(SystemExit) as stop:
        cli(mnist.main, mnist.RECIPES, ["--resume", str(trained / "checkpoints" / "best.small.ckpt")])
    assert stop.value.code == 2
    assert "has weights only" in capsys.readouterr().err.splitlines()[-1]


def refused(capsys, *args):
    """The one line that a wrong command line ends with."""
    with pytest.raises(SystemExit) as stop:
        cli(export.main, None, [*map(str, args)])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_file_of_torch_that_torch_would_not_read_is_one_line(trained, tmp_path, capsys):
    line = refused(capsys, trained, "--format", "torch", "--output", tmp_path / "model.pt")
    assert line.endswith("model.pt: torch.export insists on files that end in .pt2")
    assert not list(tmp_path.iterdir())


def test_run_whose_data_are_half_there_is_compared_on_the_sample(trained, tmp_path, capsys):
    copy = shutil.copytree(trained.parents[1], tmp_path / "copy")
    checkpoint = trained.relative_to(trained.parents[1]) / "checkpoints" / "best.ckpt"
    moved = torch.load(copy / checkpoint, weights_only=True)
    moved["datamodule_hyper_parameters"]["data_dir"] = str(copy / "data")
    torch.save(moved, copy / "moved.ckpt")
    next((copy / "data").rglob("test_images*")).unlink()
    cli(export.main, None, [str(copy / "moved.ckpt"), "--images", "9"])
    assert "on 9 images of the embedded sample" in capsys.readouterr().out


def test_a_file_that_is_there_stays_without_force(trained, tmp_path, capsys):
    target = tmp_path / "mine.onnx"
    target.write_text("precious")
    assert f"{target}: already exists; --force" in refused(capsys, trained, "--output", target)
    assert target.read_text() == "precious"
    cli(export.main, None, [str(trained), "--output", str(target), "--force"])
    onnx.checker.check_model(onnx.load(target))


def test_what_differs_from_the_checkpoint_is_refused_and_leaves_no_file(tmp_path, monkeypatch, capsys):
    (tmp_path / "brought_by_a_test.py").write_text(
        "import torch\n"
        "__all__ = ['Dice']\n"
        "class Dice(torch.nn.Linear):\n"
        "    def __init__(self, input_shape, num_outputs):\n"
        "        super().__init__(784, num_outputs)\n"
        "    def forward(self, x):\n"
        "        return super().forward(x.flatten(1)) + 0.01 * torch.rand(())\n"  # another number in every call
    )
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    monkeypatch.setattr(package, "_files", package._files.__wrapped__)
    checkpoint = save(Classifier("dice", GREY, 10), tmp_path / "model.ckpt")
    for format in ("onnx", "torch"):
        line = refused(capsys, checkpoint, "--format", format)
        assert "differ from the checkpoint's by up to 0.0" in line
        assert "more than 0.0001 of it" in line
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["brought_by_a_test.py", "model.ckpt"]


def scaled(factor):
    """A model whose logits are `factor` times as large as they would be."""
    model = make_model("cnn", GREY)
    with torch.no_grad():
        for parameter in model.net.classifier[-1].parameters():
            parameter *= factor
    return model


def test_large_logits_may_differ_by_their_rounding_and_both_differences_are_said(tmp_path, capsys):
    model = scaled(1e6)
    logits = export_to(save(model, tmp_path / "model.ckpt"))(IMAGES[GREY])[1]
    with torch.no_grad():
        expected = model(as_input(IMAGES[GREY])).numpy()
    assert np.abs(logits - expected).max() > 1e-4  # which was too much once
    said = re.search(r"logits (\S+), (\S+) of the largest, (\S+);", capsys.readouterr().out)
    absolute, relative, largest = map(float, said.groups())
    assert largest == pytest.approx(np.abs(expected).max(), rel=0.01)
    assert relative == pytest.approx(absolute / largest, rel=0.05)
    assert 0 < relative < 1e-5


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize(("error", "refused"), [(1e-6, False), (1e-3, True)])
def test_differences_count_by_the_scale_of_the_logits(factor, error, refused):
    module, images = export.FromBytes(scaled(factor)).eval(), torch.tensor(IMAGES[GREY])
    largest = float(module(images)[1].detach().abs().max())

    def exported(chunk):
        logits = module(chunk)[1] + error * largest
        return [logits.softmax(1), logits]

    differences, same = export.compare(module, exported, images)
    assert (differences["logits"].absolute > export.TOLERANCE * differences["logits"].largest) == refused
    assert differences["logits"].absolute == pytest.approx(error * largest, rel=0.2)
    assert differences["probabilities"].absolute < 1e-6
    assert same == len(images)


def test_probabilities_that_are_no_softmax_of_the_logits_are_seen():
    module, images = export.FromBytes(scaled(1.0)).eval(), torch.tensor(IMAGES[GREY])
    differences, _ = export.compare(module, lambda chunk: [module(chunk)[1].sigmoid(), module(chunk)[1]], images)
    assert differences["probabilities"].absolute > 0.01


def test_net_that_cannot_be_traced_is_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "brought_by_another_test.py").write_text(
        "import torch\n"
        "__all__ = ['Moody']\n"
        "class Moody(torch.nn.Linear):\n"
        "    def __init__(self, input_shape, num_outputs):\n"
        "        super().__init__(784, num_outputs)\n"
        "    def forward(self, x):\n"
        "        return super().forward(x.flatten(1) if x.mean() > 0 else -x.flatten(1))\n"
    )
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    monkeypatch.setattr(package, "_files", package._files.__wrapped__)
    checkpoint = save(Classifier("moody", GREY, 10), tmp_path / "model.ckpt")
    assert "net moody: torch.export cannot follow its forward" in refused(capsys, checkpoint)
    assert not list(tmp_path.glob("*model.onnx"))


def test_wrong_checkpoints_and_flags_are_one_line(trained, tmp_path, capsys):
    checkpoint = trained / "checkpoints" / "best.ckpt"
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    torch.save({"state_dict": {}, "hyper_parameters": {"width": 3}}, tmp_path / "other.ckpt")
    content = torch.load(checkpoint, weights_only=True)
    torch.save({**content, "state_dict": {}}, tmp_path / "empty.ckpt")
    torch.save(
        {**content, "hyper_parameters": {**content["hyper_parameters"], "preprocessing": {}}}, tmp_path / "t.ckpt"
    )
    for args, named in {
        (tmp_path / "text.ckpt",): "text.ckpt: cut off, damaged or not a checkpoint",
        (tmp_path / "other.ckpt",): "other.ckpt: comes from another project or version",
        (tmp_path / "empty.ckpt",): "empty.ckpt: holds another network",
        (tmp_path / "t.ckpt",): "t.ckpt: was trained on a table",
        (tmp_path / "missing",): "missing: no checkpoint at",
        (trained, "--format", "onxx"): "did you mean onnx",
        (trained, "--images", "0"): "images 0",
        (trained, "--output", tmp_path / "no" / "such.onnx"): "there is no folder",
        (trained, "--output", checkpoint, "--force"): "the checkpoint itself",
    }.items():
        assert named in refused(capsys, *args)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".ckpt"] * 4
