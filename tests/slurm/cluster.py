"""One machine as a Slurm cluster: munged, slurmctld and slurmd of Debian's packages, on loopback.

    python -m tests.slurm.cluster COMMAND...      runs COMMAND with that cluster around it

Needs root (slurmd starts jobs as any user), no systemd and no cgroups. GPUs are copies of the null
device: Slurm counts them and sets CUDA_VISIBLE_DEVICES, and nothing can be computed on them. CPUs
and memory are as many as the configuration says, not as many as there are.
"""

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sbatch", "squeue", "scontrol")
PACKAGES = "slurmctld slurmd slurm-client munge"
# Where Debian's Slurm looks without SLURM_CONF, which srun inside a job does not inherit.
SYSTEM = Path("/etc/slurm")
SECONDS = 30

_CONF = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
SlurmUser=root
AuthType=auth/munge
# cred_expire: also the seconds that a requeued job waits.
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
GresTypes=gpu
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
# No accounting: finished jobs stay visible to squeue for so many seconds.
AccountingStorageType=accounting_storage/none
MinJobAge=3600
JobRequeue=1
ReturnToService=2
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=0,sched_min_interval=0
SlurmdParameters=config_overrides
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:{gpus} State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes={host} MaxTime=INFINITE State=UP
"""


def why_not() -> str | None:
    """Why no cluster can be started here; None if it can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        return f"no {', '.join(missing)} (Debian: apt-get install {PACKAGES})"
    if os.geteuid() != 0:
        return "slurmd needs root"
    if found := [name for name in ("slurm.conf", "gres.conf") if os.path.lexists(SYSTEM / name)]:
        return f"{SYSTEM / found[0]} exists: this machine belongs to a Slurm cluster"
    return None


@contextmanager
def cluster(cpus: int = 8, memory: int = 200_000, gpus: int = 2) -> Iterator[Path]:
    """Start a cluster and, whatever happens, leave nothing of it behind.

    Args:
        cpus: that Slurm believes in.
        memory: the same, MB.
        gpus: the same.

    Yields:
        The folder of its logs.
    """
    with ExitStack() as stack:
        # Told to stop, Python would leave without a word: daemons and links would stay.
        before = signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
        stack.callback(signal.signal, signal.SIGTERM, before)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm-")))
        # munged refuses a socket in a folder that others cannot reach.
        folder.chmod(0o755)
        for name in ("state", "spool", "munge"):
            (folder / name).mkdir(mode=0o755)
        _configure(folder, cpus, memory, gpus)
        stack.callback(_unlink)
        for name in ("slurm.conf", "gres.conf"):
            (SYSTEM / name).symlink_to(folder / name)
        key = folder / "munge" / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        munge = {
            "key-file": key,
            "socket": folder / "munge" / "socket",
            "seed-file": folder / "munge" / "seed",
            "pid-file": folder / "munged.pid",
            "log-file": folder / "munged.log",
        }
        for command in (
            ["munged", "--force", *(f"--{name}={path}" for name, path in munge.items())],
            ["slurmctld", "-c"],
            ["slurmd", "-c"],
        ):
            stack.callback(_stop, folder / f"{command[0]}.pid")
            subprocess.run(command, check=True, timeout=SECONDS)
        _wait_until_idle()
        stack.callback(_cancel_all)
        yield folder


def _configure(folder: Path, cpus: int, memory: int, gpus: int) -> None:
    host = socket.gethostname().partition(".")[0]
    with socket.socket() as first, socket.socket() as second:
        for free in (first, second):
            free.bind(("127.0.0.1", 0))
        ports = {"ctld_port": first.getsockname()[1], "slurmd_port": second.getsockname()[1]}
    text = _CONF.format(host=host, folder=folder, cpus=cpus, memory=memory, gpus=gpus, **ports)
    (folder / "slurm.conf").write_text(text)
    lines = ["AutoDetect=off"]
    for number in range(gpus):
        device = folder / f"gpu{number}"
        os.mknod(device, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        lines.append(f"NodeName={host} Name=gpu File={device} Flags=nvidia_gpu_env")
    (folder / "gres.conf").write_text("\n".join(lines) + "\n")


def _wait_until_idle() -> None:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        done = subprocess.run(["sinfo", "-h", "-o", "%T"], capture_output=True, text=True)
        if "idle" in done.stdout:
            return
        time.sleep(0.2)
    raise RuntimeError(f"the node is not idle after {SECONDS} s: {done.stdout}{done.stderr}")


def _cancel_all() -> None:
    subprocess.run(["scancel", "--signal=KILL", "--full", "--user=root"], capture_output=True)
    subprocess.run(["scancel", "--user=root"], capture_output=True)
    deadline = time.monotonic() + SECONDS
    running = ["squeue", "-h", "-t", "R,CG,PD", "-o", "%i"]
    while time.monotonic() < deadline:
        if not subprocess.run(running, capture_output=True, text=True).stdout.strip():
            return
        time.sleep(0.2)


def _stop(pid_file: Path) -> None:
    if not pid_file.exists():
        return
    pid = int(pid_file.read_text())
    deadline = time.monotonic() + SECONDS
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.1)
        os.kill(pid, signal.SIGKILL)


def _unlink() -> None:
    for name in ("slurm.conf", "gres.conf"):
        if (SYSTEM / name).is_symlink():
            (SYSTEM / name).unlink()


def main() -> None:
    """Run a command inside a cluster."""
    if reason := why_not():
        sys.exit(f"no Slurm here: {reason}")
    with cluster():
        done = subprocess.run(sys.argv[1:] or ["sinfo"])
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
