"""A SLURM of this machine's own: munge, a controller and three nodes, in a folder, as the user who runs the tests."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "unshare")
SBIN = "/usr/sbin:/sbin"
CONF = """
ClusterName=tests
SlurmctldHost={host}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/%n.pid
SlurmdLogFile={folder}/%n.log
SlurmdSpoolDir={folder}/%n.spool
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,bf_interval=1
ReturnToService=2
SlurmdTimeout=15
KillWait=20
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
GresTypes=gpu
NodeName=node0 NodeHostname={host} Port={ports[1]} CPUs=2 RealMemory=16000 Gres=gpu:2
NodeName=node1 NodeHostname={host} Port={ports[2]} CPUs=2 RealMemory=16000 Gres=gpu:2
NodeName=node2 NodeHostname={host} Port={ports[3]} CPUs=2 RealMemory=16000
PartitionName=main Nodes=node0,node1 Default=YES State=UP PriorityTier=1
PartitionName=urgent Nodes=node0,node1 State=UP PriorityTier=2
PartitionName=apart Nodes=node2 State=UP PriorityTier=1
"""


def why_not() -> str:
    """Why no SLURM can be started here; "" if one can."""
    missing = [name for name in DAEMONS if not _which(name)]
    if missing:
        return f"no {missing[0]}; on Debian: apt-get install slurm-wlm munge"
    return "" if os.geteuid() == 0 else "SLURM's daemons start as root"


class Slurm:
    """The daemons, and the variable by which SLURM's commands find them.

    Attributes:
        conf: the file that SLURM_CONF has to name.
        hidden: a folder that node2 does not see.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.conf = folder, folder / "slurm.conf"
        self._daemons: dict[str, subprocess.Popen] = {}
        self.hidden = folder / "hidden"
        for path in (folder / "state", self.hidden):
            path.mkdir(parents=True)
        for number in range(2):
            (folder / f"gpu{number}").touch()  # the devices, as far as SLURM looks at them
        (folder / "gres.conf").write_text(f"NodeName=node[0-1] Name=gpu File={folder}/gpu[0-1]\n")
        ports = [_free_port() for _ in range(4)]
        self.conf.write_text(CONF.format(host=socket.gethostname(), folder=folder, ports=ports))
        (folder / "munge.key").write_bytes(os.urandom(128))
        (folder / "munge.key").chmod(0o400)

    def start(self) -> None:
        self._start_munge()
        self.start_controller()
        for name in ("node0", "node1", "node2"):
            self.start_node(name)
        self.wait_until_idle()

    def wait_until_idle(self) -> None:
        self.wait_for(lambda: set(self.said("sinfo", "-h", "-N", "-o", "%T").split()) == {"idle"}, 240)

    def _start_munge(self) -> None:
        files = [f"--{name}={self.folder}/munge.{name.split('-')[0]}" for name in ("socket", "key-file", "pid-file")]
        self._daemons["munged"] = self._popen(
            "munged", "--foreground", "--force", *files, f"--log-file={self.folder}/munge.log", "--num-threads=2"
        )
        self.wait_for((self.folder / "munge.socket").exists)

    def start_controller(self) -> None:
        self._daemons["slurmctld"] = self._popen("slurmctld", "-D", "-f", str(self.conf))
        self.wait_for(lambda: "UP" in self.said("scontrol", "ping"))

    def start_node(self, name: str) -> None:
        hides = [f"mount -t tmpfs none {self.hidden}"] if name == "node2" else []
        command = "; ".join([*hides, f"exec {_which('slurmd')} -D -N {name} -f {self.conf}"])
        self._daemons[name] = self._popen("unshare", "--mount", "sh", "-c", command)

    def lose_node(self, name: str) -> None:
        """Ends its daemon, and the processes of all jobs there, as a loss of power would."""
        self.kill(name)
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                its, parent = process.environ(), process.parent()
                if (its.get("SLURMD_NODENAME"), its.get("SLURM_CONF")) == (name, str(self.conf)):
                    if parent and parent.name() == "slurmstepd":  # what the node has started for the job
                        parent.kill()
                    process.kill()

    def kill(self, name: str) -> None:
        self._daemons[name].kill()
        self._daemons.pop(name).wait()

    def said(self, *command: str) -> str:
        env = {**os.environ, "SLURM_CONF": str(self.conf)}
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60).stdout

    @staticmethod
    def wait_for(condition, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def stop(self) -> None:
        self.said("scancel", "--me")
        for name in reversed(list(self._daemons)):
            self._daemons[name].terminate()
        for name in list(self._daemons):
            self.kill(name)

    def _popen(self, name: str, *args: str) -> subprocess.Popen:
        log = (self.folder / f"{name}.out").open("a")
        env = {**os.environ, "SLURM_CONF": str(self.conf)}
        return subprocess.Popen([_which(name), *args], env=env, stdout=log, stderr=log, cwd=self.folder)


@contextmanager
def running(folder: Path) -> Iterator[Slurm]:
    """A SLURM whose nodes are idle."""
    slurm = Slurm(folder)
    try:
        slurm.start()
        yield slurm
    finally:
        slurm.stop()


def _which(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:{SBIN}")


def _free_port() -> int:
    with socket.socket() as its:
        its.bind(("", 0))
        return its.getsockname()[1]
