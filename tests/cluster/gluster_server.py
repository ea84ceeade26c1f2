"""A GlusterFS of this machine's own, mounted twice, as two machines see one storage over a network."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SERVER = """
volume disk
  type storage/posix
  option directory {folder}/disk
end-volume
volume storage
  type features/locks
  subvolumes disk
end-volume
volume server
  type protocol/server
  option transport-type tcp
  option transport.socket.bind-address 127.0.0.1
  option transport.socket.listen-port {port}
  option auth.addr.storage.allow 127.0.0.1
  subvolumes storage
end-volume
"""
CLIENT = """
volume client
  type protocol/client
  option transport-type tcp
  option remote-host 127.0.0.1
  option remote-port {port}
  option remote-subvolume storage
end-volume
"""


def why_not() -> str:
    """Why no GlusterFS can be started here; "" if one can."""
    if not (shutil.which("glusterfsd") and shutil.which("glusterfs")):
        return "no glusterfsd; on Debian: apt-get install glusterfs-server"
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        return "only root can mount GlusterFS, where there is /dev/fuse"
    return ""


@contextmanager
def mounted_twice(folder: Path) -> Iterator[tuple[Path, Path]]:
    """The same storage at two places, each with a client of its own."""
    with socket.socket() as its:
        its.bind(("127.0.0.1", 0))
        port = its.getsockname()[1]
    places = (folder / "one", folder / "other")
    for path in (folder / "disk", *places):
        path.mkdir(parents=True)
    started = [_start(folder, "glusterfsd", SERVER.format(folder=folder, port=port))]
    try:
        _wait_for(lambda: _listens(port))
        for place in places:
            started.append(_start(folder, "glusterfs", CLIENT.format(port=port), place))
            _wait_for(place.is_mount)
        yield places
    finally:
        for place in places:
            subprocess.run(["umount", "--lazy", place], check=False, stderr=subprocess.DEVNULL)
        for process in reversed(started):
            process.kill()
            process.wait()


def _start(folder: Path, program: str, volumes: str, *args: Path) -> subprocess.Popen:
    name = "-".join([program, *(place.name for place in args)])
    (folder / f"{name}.vol").write_text(volumes)
    files = [f"--volfile={folder}/{name}.vol", f"--log-file={folder}/{name}.log", f"--pid-file={folder}/{name}.pid"]
    return subprocess.Popen([program, "--no-daemon", *files, *args])


def _listens(port: int) -> bool:
    with socket.socket() as its:
        return its.connect_ex(("127.0.0.1", port)) == 0


def _wait_for(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
