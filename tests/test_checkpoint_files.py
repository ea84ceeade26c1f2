"""Checkpoint files: they are written whole or not at all, and any change to them is found."""

import errno
import hashlib
import random
import shutil
import subprocess
import sys
import zipfile

import pytest
import torch

from basics.errors import InputFileError
from harness.runs import checkpoint_files
from harness.runs.checkpoint_files import DurableCheckpointIO, remove_unfinished, verify
from harness.runs.checkpoints import newest_intact, read_checkpoint, set_aside
from lit_modules import Classifier

CONTENT = {"state_dict": {"w": torch.arange(500.0)}, "hyper_parameters": {"lr": 0.1}, "global_step": 7}


def save(path, **changes):
    DurableCheckpointIO().save_checkpoint(CONTENT | changes, path)
    return path


def test_sha_256_of_what_torch_wrote_is_the_archives_comment(tmp_path):
    path = save(tmp_path / "a.ckpt")
    comment = zipfile.ZipFile(path).comment
    content = path.read_bytes()[: -len(comment) - 2] + b"\0\0"  # the comment's length was 0
    assert comment == b"sha256:" + hashlib.sha256(content).hexdigest().encode()


@pytest.mark.parametrize("options", [{"mmap": True}, {"mmap": False}])
def test_torch_reads_the_file_by_its_path_alone(tmp_path, options):
    read = torch.load(save(tmp_path / "a.ckpt"), weights_only=True, **options)
    assert torch.equal(read["state_dict"]["w"], CONTENT["state_dict"]["w"])


def test_module_reads_the_file_by_its_path_alone(tmp_path):
    model = Classifier("softmax", (1, 28, 28), 10, lr=0.3)
    content = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams)}
    model.on_save_checkpoint(content)
    path = save(tmp_path / "a.ckpt", **content, **{"pytorch-lightning_version": "2.6.6"})
    again = Classifier.load_from_checkpoint(path, weights_only=True, map_location="cpu")
    assert again.hparams == model.hparams
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in again.state_dict().items())


def test_each_flipped_bit_and_each_cut_is_found(tmp_path):
    path, draw = save(tmp_path / "a.ckpt"), random.Random(0)
    content = path.read_bytes()
    ends = [8 * len(content) - 1 - i for i in range(0, 8 * 93, 3)]  # the comment and what is before it
    for bit in [*ends, *(draw.randrange(8 * len(content)) for _ in range(300))]:
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        with pytest.raises(ValueError, match=r"a\.ckpt"):
            read_checkpoint(path)
    for length in [0, 1, 100, len(content) - 1, len(content) - 71, len(content) - 73, len(content) - 93]:
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"a\.ckpt"):
            read_checkpoint(path)


@pytest.mark.parametrize("legacy", [False, True])
def test_file_without_a_checksum_is_read(tmp_path, legacy):
    torch.save(CONTENT, tmp_path / "other.ckpt", _use_new_zipfile_serialization=not legacy)
    verify(tmp_path / "other.ckpt")
    assert DurableCheckpointIO().load_checkpoint(tmp_path / "other.ckpt")["global_step"] == 7


def damage(path):
    content = bytearray(path.read_bytes())
    content[1000] ^= 4
    path.write_bytes(content)


def test_damaged_last_gives_way_to_the_newest_intact_one(tmp_path, capsys):
    save(tmp_path / "best.ckpt", global_step=20)
    for step in (10, 30, 40):
        save(tmp_path / "last.ckpt", global_step=step)
    last = tmp_path / "last.ckpt"
    assert newest_intact(last).path == last
    damage(last)
    assert newest_intact(last).path == tmp_path / "last-1.ckpt"
    said = capsys.readouterr().out
    assert "last.ckpt: damaged" in said
    assert "last-1.ckpt, of step 30" in said
    assert last.exists()  # nothing is written before the run is accepted
    set_aside(last)
    assert not last.exists()  # or it would be kept in place of the intact one
    damage(save(last))
    damage(tmp_path / "last-1.ckpt")
    assert newest_intact(last).path == tmp_path / "best.ckpt"
    damage(save(last))
    damage(tmp_path / "best.ckpt")
    with pytest.raises(ValueError, match=r"last\.ckpt: damaged"):
        newest_intact(last)


def test_file_that_was_named_is_not_replaced_by_another(tmp_path):
    damage(save(tmp_path / "mine.ckpt"))
    save(tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match=r"mine\.ckpt: damaged"):
        newest_intact(tmp_path / "mine.ckpt")


class FullDisk:
    """A file on a disk with room for 3,000 bytes more."""

    def __init__(self, file):
        self.file, self.room = file, 3000

    def __getattr__(self, name):
        return getattr(self.file, name)

    def write(self, part):
        if not self.room:
            raise OSError(28, "No space left on device")
        written = self.file.write(part[: self.room])
        self.room -= written
        return written


def test_full_disk_leaves_the_old_file_and_says_what_it_takes(tmp_path, monkeypatch):
    path = save(tmp_path / "last.ckpt")
    before, size = path.read_bytes(), path.stat().st_size - 71  # without the checksum
    monkeypatch.setattr(
        checkpoint_files, "_Hashing", lambda file, hashing=checkpoint_files._Hashing: hashing(FullDisk(file))
    )
    with pytest.raises(OSError, match=rf"last\.ckpt: no room: a checkpoint takes {size:,} bytes, [\d,]+ are free"):
        save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("mount") is None, reason="needs mount")
def test_full_file_system_leaves_the_old_file(tmp_path):
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("needs the right to mount")
    try:
        path = save(tmp_path / "last.ckpt")
        with pytest.raises(OSError, match=r"last\.ckpt: no room"):
            save(path, state_dict={"w": torch.zeros(50_000)})
        assert torch.equal(read_checkpoint(path).content["state_dict"]["w"], CONTENT["state_dict"]["w"])
    finally:
        subprocess.run(["umount", "-l", tmp_path], check=True)


def test_leftovers_of_dead_writers_go_and_those_of_living_ones_stay(tmp_path):
    dead, living = tmp_path / ".last.ckpt.1.unfinished", tmp_path / ".best.ckpt.2.unfinished"
    dead.write_bytes(b"half")
    code = (
        f"import fcntl; f = open({str(living)!r}, 'wb'); fcntl.flock(f, fcntl.LOCK_EX); print(1, flush=True); input()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        writer.stdout.readline()
        remove_unfinished(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [living.name]
        writer.communicate(b"\n")
    remove_unfinished(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("number", "saves"), [(errno.ENOSYS, True), (errno.EOPNOTSUPP, True), (errno.EACCES, False)])
def test_file_systems_without_locks_have_checkpoints_too(tmp_path, monkeypatch, number, saves):
    def refuses(file, flags):
        raise OSError(number, "no locks here")

    monkeypatch.setattr(checkpoint_files.fcntl, "flock", refuses)
    if saves:
        assert torch.equal(
            read_checkpoint(save(tmp_path / "last.ckpt")).content["state_dict"]["w"], CONTENT["state_dict"]["w"]
        )
    else:
        with pytest.raises(InputFileError, match="cannot be written"):
            save(tmp_path / "last.ckpt")
