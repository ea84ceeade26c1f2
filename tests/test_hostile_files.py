"""Untrusted files: nothing in them is run, nothing leaves its folder, and each is refused in one line.

Each attack would create the file `canary`; a reader that trusts the file shows that the attack works.
"""

import gzip
import io
import json
import os
import pickle
import resource
import shutil
import struct
import tarfile
import zlib
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from file_server import md5, serve_as_official
from folders import names_in
from torchvision import datasets

from datamodules import pickled_arrays
from datamodules.download import SHA256, download_arrays
from experiments import finetune, from_scratch, mnist, own_images, predict_table, table
from harness.command_line.cli import cli
from lit_modules import Classifier

ROOT = Path(__file__).parents[1]
QUICK = "--sample --net mlp --net_args.widths [8] --max_epochs 1 --accelerator cpu".split()
QUICK += "--enable_progress_bar false --pictures false".split()


class Touch:
    """Pickled, it makes a file when it is read."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    cli(mnist.main, mnist.RECIPES, [*QUICK, "--run_dir", str(folder)])
    return next(folder.glob("mnist/*"))


@pytest.fixture
def place(tmp_path, trained, monkeypatch):
    """A copy of a trained run, a folder for what is written, and the file that no attack may make."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    run = Path(shutil.copytree(trained, tmp_path / "run"))
    return SimpleNamespace(run=run, out=tmp_path / "out", canary=tmp_path / "canary", folder=tmp_path)


def refusal(capsys, place, main, *flags):
    """The one line that a script ends with, which has made neither a run nor the canary."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        cli(main, None, [*flags, *(["--run_dir", str(place.out)] if main is not predict_table.main else [])])
    assert stop.value.code == 2
    assert not place.canary.exists()
    assert not place.out.exists()
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(line) < 2000
    return line


def code_in_state(path, content, canary):
    torch.save(content | {"state_dict": content["state_dict"] | {"net.linear.bias": Touch(canary)}}, path)


def code_in_hyperparameters(path, content, canary):
    torch.save(content | {"hyper_parameters": {"net": Touch(canary)}}, path)


def code_in_old_format(path, content, canary):
    torch.save(content | {"trap": Touch(canary)}, path, _use_new_zipfile_serialization=False)


def code_and_nothing_else(path, content, canary):
    path.write_bytes(pickle.dumps(Touch(canary)))


def class_to_import(path, content, canary):
    asked = {"_instantiator": "os.system", "_class_path": "subprocess.Popen", "args": ["touch", str(canary)]}
    torch.save(content | {"hyper_parameters": content["hyper_parameters"] | asked}, path)


CODE = (code_in_state, code_in_hyperparameters, code_in_old_format, code_and_nothing_else)


@pytest.mark.parametrize("spoil", [*CODE, class_to_import])
@pytest.mark.parametrize("way", ["resume", "resume a file", "finetune", "init_from", "predict", "load_from_checkpoint"])
def test_no_checkpoint_runs_or_imports_anything(place, capsys, spoil, way):
    last = place.run / "checkpoints" / "last.ckpt"
    spoil(last, torch.load(last, weights_only=True), place.canary)
    last.with_name("best.ckpt").unlink()  # a resume would go on from it
    if way == "load_from_checkpoint":
        with pytest.raises((ValueError, pickle.UnpicklingError)):
            Classifier.load_from_checkpoint(last)
        assert not place.canary.exists()
    else:
        main, flags = {
            "resume": (mnist.main, ["--resume", str(place.run), "--max_epochs", "2"]),
            "resume a file": (mnist.main, ["--resume", str(last), "--max_epochs", "2"]),
            "finetune": (finetune.main, [str(last), "--data", "mnist", "--sample"]),
            "init_from": (mnist.main, [*QUICK, "--init_from", str(last)]),
            "predict": (predict_table.main, [str(last), str(place.folder / "rows.csv")]),
        }[way]
        assert str(last) in refusal(capsys, place, main, *flags)
    if spoil in CODE:
        with suppress(RuntimeError):  # what is no checkpoint is found out afterwards
            torch.load(last, weights_only=False)
        assert place.canary.exists()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"net": "subprocess.Popen"}, "no such net"),
        ({"net": {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", "{}"]}}}, "names no network"),
        ({"net_args": {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", "{}"]}}}, "'class_path'"),
        ({"net": "mlp", "net_args": {"activation": "os.system"}}, "no such activation"),
        ({"net": "imagenet", "net_args": {"arch": "os.system"}}, "no such arch"),
    ],
)
def test_nested_class_path_in_hyperparameters_imports_nothing(place, capsys, options, named):
    last = place.run / "checkpoints" / "last.ckpt"
    content = torch.load(last, weights_only=True)
    options = json.loads(json.dumps(options).replace("{}", str(place.canary)))
    torch.save(content | {"hyper_parameters": content["hyper_parameters"] | options}, last)
    assert named in refusal(capsys, place, finetune.main, str(last), "--data", "mnist", "--sample")


@pytest.mark.parametrize(
    "victim", ["{folder}/precious", "{run}/checkpoints/../../precious", "file://{folder}/precious"]
)
def test_file_names_in_a_checkpoint_delete_nothing_outside_its_folder(place, victim):
    (place.folder / "precious").mkdir()
    last = place.run / "checkpoints" / "last.ckpt"
    content = torch.load(last, weights_only=True)
    path = victim.format(folder=place.folder, run=place.run)
    best = next(state for key, state in content["callbacks"].items() if "best" in key)
    worst = torch.tensor(0.0)  # any epoch is better, and Lightning then deletes the one before
    best |= {"dirpath": str(place.run / "checkpoints"), "best_k_models": {path: worst}, "best_model_score": worst}
    best |= {"best_model_path": path, "kth_best_model_path": path, "kth_value": worst, "last_model_path": path}
    torch.save(content, last)
    cli(mnist.main, mnist.RECIPES, ["--resume", str(place.run), "--max_epochs", "2"])
    assert (place.folder / "precious").is_dir()
    assert (place.run / "checkpoints" / "best.ckpt").is_file()


def test_checkpoint_by_address_needs_its_sha256_and_is_read_as_any_other(place, capsys, server):
    last = place.run / "checkpoints" / "last.ckpt"
    whole = last.read_bytes()
    code_in_state(last, torch.load(last, weights_only=True), place.canary)
    server.files = {"good.ckpt": whole, "evil.ckpt": last.read_bytes()}
    good, evil = (f"{server.url}{name}#sha256={sha256(content).hexdigest()}" for name, content in server.files.items())
    flags = ["--data", "mnist", "--sample", "--accelerator", "cpu"]
    assert "add #sha256=" in refusal(capsys, place, finetune.main, f"{server.url}good.ckpt", *flags)
    assert "SHA-256" in refusal(capsys, place, finetune.main, evil.replace("evil.ckpt", "good.ckpt"), *flags)
    assert not list((place.folder / "cache").rglob("*.ckpt"))
    assert "damaged or not a checkpoint" in refusal(capsys, place, finetune.main, evil, *flags)
    assert "no checkpoint at" in refusal(capsys, place, mnist.main, "--resume", good)
    with pytest.raises(ValueError, match="is an address"):
        Classifier.load_from_checkpoint(f"{server.url}evil.ckpt")
    cli(finetune.main, None, [good, *flags, "--fast_dev_run"])
    asked = len(server.requests)
    cli(finetune.main, None, [good, *flags, "--fast_dev_run"])
    assert len(server.requests) == asked  # it is kept, under its SHA-256
    assert not place.canary.exists()


def test_address_that_serves_without_end_is_cut_off(place, capsys, server, monkeypatch):
    monkeypatch.setattr("harness.runs.remote_checkpoints.LIMIT", 1000)
    server.files = {"large.ckpt": bytes(1001)}
    address = f"{server.url}large.ckpt#sha256={'0' * 64}"
    line = refusal(capsys, place, finetune.main, address, "--data", "mnist", "--sample")
    assert "larger than the 1,000 bytes" in line
    assert not list((place.folder / "cache").rglob("*unfinished"))


def nested(kind, path="subprocess.Popen"):
    return f"{kind}:\n  class_path: {path}\n  init_args: {{args: [touch, CANARY]}}\n"


DDP = "strategy:\n  class_path: lightning.pytorch.strategies.DDPStrategy\n  init_args:\n    "
LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join(['*' + old] * 9)}]\n" for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)
CONFIGS = {
    "python tag": "lr: !!python/object/apply:os.system ['touch CANARY']\n",
    "python tag on top": "!!python/object/new:os.system ['touch CANARY']\n",
    "python module": "lr: !!python/module:antigravity\n",
    "class of plugins": nested("plugins"),
    "class of a strategy": nested("strategy"),
    "class of a profiler": nested("profiler"),
    "class of a logger": nested("logger"),
    "class of net_args": nested("net_args"),
    "class within an allowed one": DDP + nested("checkpoint_io").replace("\n", "\n    "),
    "function within an allowed one": DDP + "ddp_comm_hook: os.system\n",
    "module that an allowed one imports": nested("strategy", "lightning.pytorch.strategies.ddp.torch.hub.load"),
    "name that begins like an allowed one": nested("strategy", "lightning.pytorch.strategies_of_others.DDP"),
    "function of net_args": "net: mlp\nnet_args:\n  activation: os.system\n",
    "billion laughs": LAUGHS,
    "list in itself": "net_args: &a\n  x: *a\n",
    "deep lists": "net_args: " + "[" * 5000 + "]" * 5000,
    "bytes": "\0\1\2",
    "another file": "config: /etc/passwd\n",
}


@pytest.mark.parametrize("way", ["config", "resume"])
@pytest.mark.parametrize("attack", CONFIGS)
def test_no_config_imports_or_runs_anything(place, capsys, attack, way):
    config = (place.run if way == "resume" else place.folder) / "config.yaml"
    config.write_text(CONFIGS[attack].replace("CANARY", str(place.canary)))
    flags = [*QUICK, "--config", str(config)] if way == "config" else ["--resume", str(place.run)]
    refusal(capsys, place, mnist.main, *flags)


def tar_of(*entries):
    """A tar.gz; each entry is a TarInfo and its content."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for entry, content in entries:
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return archive.getvalue()


def link(name, target, kind=tarfile.SYMTYPE):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, str(target)
    return entry, b""


ARCHIVES = {
    "parent folder": lambda out: tar_of((tarfile.TarInfo("../../../canary"), b"x")),
    "absolute path": lambda out: tar_of((tarfile.TarInfo(str(out / "canary")), b"x")),
    "symbolic link": lambda out: tar_of(link("way", out), (tarfile.TarInfo("way/canary"), b"x")),
    "hard link": lambda out: tar_of(link("way", out / "other", tarfile.LNKTYPE), (tarfile.TarInfo("way"), b"x")),
    "pickle": lambda out: tar_of(
        (tarfile.TarInfo("cifar-10-batches-py/data_batch_1"), pickle.dumps(Touch(out / "canary")))
    ),
    "no archive": lambda out: b"text",
}


@pytest.mark.parametrize("attack", ARCHIVES)
@pytest.mark.parametrize("md5_agrees", [False, True])
def test_no_archive_leaves_its_folder_or_runs(place, server, monkeypatch, attack, md5_agrees):
    (place.folder / "other").write_text("precious")
    content = ARCHIVES[attack](place.folder)
    server.files = {"cifar-10-python.tar.gz": content}
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{server.url}cifar-10-python.tar.gz")
    if md5_agrees:  # as an attacker can have it, who made both files
        monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", md5(content))
    with pytest.raises(FileNotFoundError, match="SHA-256") as refused:
        download_arrays(place.folder / "data" / "cifar10", "CIFAR10")
    assert len(str(refused.value).splitlines()) == 1
    assert not place.canary.exists()
    assert (place.folder / "other").read_text() == "precious"
    assert names_in(place.folder / "data") == []


@pytest.mark.parametrize("attack", ["parent folder", "absolute path", "symbolic link", "hard link", "no archive"])
@pytest.mark.parametrize("python_has_filter", [True, False])
def test_archive_stays_in_its_folder_even_if_it_were_official(place, server, monkeypatch, attack, python_has_filter):
    (place.folder / "other").write_text("precious")
    content = ARCHIVES[attack](place.folder)
    server.files = {"cifar-10-python.tar.gz": content}
    monkeypatch.setattr(datasets.CIFAR10, "url", f"{server.url}cifar-10-python.tar.gz")
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", md5(content))
    serve_as_official(monkeypatch, "CIFAR10", server)
    if not python_has_filter:  # as before 3.10.12 and 3.11.4
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    with pytest.raises(FileNotFoundError, match="could not be downloaded") as refused:
        download_arrays(place.folder / "data" / "cifar10", "CIFAR10")
    assert len(str(refused.value).splitlines()) == 1
    assert not place.canary.exists()
    assert (place.folder / "other").read_text() == "precious"
    assert names_in(place.folder / "data") == []


def test_official_sums_are_those_of_sha256():
    assert all(len(sum_) == 64 for files in SHA256.values() for sum_ in files.values())
    assert len({sum_ for files in SHA256.values() for sum_ in files.values()}) == 10


def test_pickle_that_unpacks_to_any_size_is_cut_off(place, capsys, monkeypatch):
    monkeypatch.setattr(pickled_arrays, "LIMIT", 2**20)
    bombs = [pickle.dumps(bytes(2**21), 4), b"\x80\x04" + b"N0" * 2**20 + b".", b"I" + b"1" * 2**21 + b"\n."]
    for bomb in bombs:
        (place.folder / "bomb.gz").write_bytes(gzip.compress(bomb))
        line = refusal(capsys, place, from_scratch.main, "--pickle", str(place.folder / "bomb.gz"))
        assert "unpacks to more than 1,048,576 bytes" in line


def test_arrays_of_objects_are_not_unpickled(place, capsys):
    folder = place.folder / "data" / "mnist"
    folder.mkdir(parents=True)
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        np.save(folder / f"{name}.npy", np.array([Touch(place.canary)], dtype=object), allow_pickle=True)
    flags = ["--net", "softmax", "--data_dir", str(place.folder / "data")]
    assert "train_images.npy: not a readable array" in refusal(capsys, place, mnist.main, *flags)


def test_array_with_a_header_of_any_size_takes_no_memory(place, capsys):
    folder = place.folder / "data" / "mnist"
    folder.mkdir(parents=True)
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000000000, 28, 28)}"
    header += b" " * (118 - len(header) - 1) + b"\n"
    (folder / "train_images.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    flags = ["--net", "softmax", "--data_dir", str(place.folder / "data")]
    assert "train_images.npy: not a readable array" in refusal(capsys, place, mnist.main, *flags)


def png(width, height):
    """A black-and-white image of any size in a few bytes, of which only the first rows are there."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(CANARY) (w) file closefile\n"
IMAGES = {
    "bomb.png": lambda out: png(100_000, 100_000),
    "script.png": lambda out: POSTSCRIPT.replace(b"CANARY", str(out / "canary").encode()),
    "pickle.jpg": lambda out: pickle.dumps(Touch(out / "canary")),
    "empty.jpg": lambda out: b"",
}


@pytest.mark.parametrize("name", IMAGES)
def test_no_image_is_run_or_unpacked_without_limit(place, capsys, name):
    for kind in ("cat", "dog"):
        (place.folder / "photos" / "train" / kind).mkdir(parents=True)
        for number in range(3):  # enough for a test split
            (place.folder / "photos" / "train" / kind / f"{number}{name}").write_bytes(IMAGES[name](place.folder))
    line = refusal(capsys, place, own_images.main, "--data_dir", str(place.folder / "photos"), "--net", "softmax")
    assert f"train/cat/0{name}" in line


def test_link_in_a_folder_of_images_is_read_as_an_image_only(place, capsys):
    for kind in ("cat", "dog"):
        (place.folder / "photos" / "train" / kind).mkdir(parents=True)
        for name in "abc":
            (place.folder / "photos" / "train" / kind / f"{name}.jpg").symlink_to("/etc/passwd")
    line = refusal(capsys, place, own_images.main, "--data_dir", str(place.folder / "photos"), "--net", "softmax")
    assert "no image of a known format" in line
    assert "root:" not in line


@pytest.mark.parametrize(
    "content",
    [b"a,b\n1,\0\n", b"a,b\n" + b'"' * 3 + b"x" * 200_000, b"a,b\n" + b"1," * 10_000 + b"\n", b"\xff\xfe\x00"],
    ids=["zero byte", "endless cell", "endless row", "no text"],
)
def test_no_table_is_read_that_is_none(place, capsys, content):
    (place.folder / "rows.csv").write_bytes(content)
    flags = ["--csv", str(place.folder / "rows.csv"), "--target", "b"]
    assert "rows.csv, line" in refusal(capsys, place, table.main, *flags)


def test_pickled_predictions_of_a_resumed_fold_are_not_unpickled(place):
    from harness.tasks.folds import read_result

    np.savez(place.folder / "predictions.npz", rows=np.array([Touch(place.canary)], dtype=object))
    with pytest.raises(ValueError, match="damaged, or no predictions"):
        read_result(place.folder / "predictions.npz")
    assert not place.canary.exists()


def test_tensorboard_is_only_ever_bound_to_this_machine():
    recipe = [line for line in (ROOT / "Makefile").read_text().splitlines() if "tensorboard --" in line]
    assert recipe and all("--host localhost" in line for line in recipe)
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
    texts = [path.read_text() for path in [*documents, ROOT / "Makefile", *ROOT.glob("*/*.py")]]
    assert not [text for text in texts if "--bind" + "_all" in text or "0.0." + "0.0" in text]


def in_child(call):
    """The line that `call` ends with in a process of its own, whose limits it may change."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        try:
            call()
            line = "nothing raised"
        except FileNotFoundError as error:
            line = str(error)
        except BaseException as error:
            line = f"unexpected {error!r}"
        os.write(writer, line.encode())
        os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader) as pipe:
        return pipe.read()


@pytest.mark.parametrize("size", [10, 4000])  # too little for an archive; enough for these, too little for the arrays
def test_full_disk_during_a_download_leaves_nothing(tmp_path, server, served_mnist, size):
    def download():
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))  # a write beyond it is refused, as on a full disk
        download_arrays(tmp_path / "mnist", "MNIST")

    line = in_child(download)
    assert line.startswith(f"{tmp_path / 'mnist'}: not there, and could not be downloaded (")
    assert "File too large" in line
    assert names_in(tmp_path) == []


def test_folder_that_cannot_be_written_is_one_line():
    line = in_child(lambda: download_arrays(Path("/proc/data/mnist"), "MNIST"))  # not even root writes there
    assert line.startswith("/proc/data/mnist: not there, and could not be downloaded (")


def test_download_that_was_killed_leaves_no_file_under_its_name_and_is_done_again(tmp_path, server, served_mnist):
    def killed():
        os.replace = Path.rename = lambda *_: os._exit(1)  # as by kill -9, at the last moment
        download_arrays(tmp_path / "mnist", "MNIST")

    in_child(killed)
    assert not (tmp_path / "mnist").exists()
    download_arrays(tmp_path / "mnist", "MNIST")
    assert sorted(path.name for path in (tmp_path / "mnist").iterdir())[0] == "test_images.npy"
    assert not list(tmp_path.glob(".*download"))
