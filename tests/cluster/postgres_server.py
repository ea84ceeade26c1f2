"""A PostgreSQL server of this machine's own, which asks for a password, in a folder."""

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER, PASSWORD = "sweeper", "not-to-be-seen"


def binaries() -> Path | None:
    """The folder of PostgreSQL's programs, which Debian does not have on the path."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    there = found[-1] if found else shutil.which("pg_ctl")
    return Path(there).parent if there else None


def why_not() -> str:
    """Why no server can be started here; "" if one can."""
    if not binaries():
        return "no pg_ctl; on Debian: apt-get install postgresql"
    if os.geteuid() == 0 and "postgres" not in {user.pw_name for user in pwd.getpwall()}:
        return "root may not start a server, and there is no user postgres"
    return ""


class Postgres:
    """A server with one user and one database, which may be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as its:
            its.bind(("127.0.0.1", 0))
            self.port = its.getsockname()[1]
        self.url = f"postgresql+psycopg://{USER}@127.0.0.1:{self.port}/postgres"
        folder.mkdir()
        (folder / "password").write_text(PASSWORD)
        if os.geteuid() == 0:
            for path in (folder, folder / "password"):
                shutil.chown(path, "postgres")
        own = [f"--username={USER}", f"--pwfile={folder}/password", "--auth=scram-sha-256", "--no-sync"]
        self._run("initdb", "-D", f"{folder}/data", *own)

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={self.folder}"
        self._run("pg_ctl", "-w", "-D", f"{self.folder}/data", "-l", f"{self.folder}/log", "-o", options, "start")

    def stop(self) -> None:
        """At once, as a crash would."""
        self._run("pg_ctl", "-w", "-D", f"{self.folder}/data", "-m", "immediate", "stop")

    def _run(self, name: str, *args: str) -> None:
        folder = binaries()
        assert folder
        as_user = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        command = [*as_user, str(folder / name), *args]
        subprocess.run(command, check=True, cwd=self.folder, stdout=subprocess.DEVNULL, timeout=120)


@contextmanager
def serving(folder: Path) -> Iterator[Postgres]:
    """A server that answers."""
    its = Postgres(folder)
    its.start()
    try:
        yield its
    finally:
        its.stop()
