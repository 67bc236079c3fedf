"""What encloses a process that runs foreign code, as far as this machine allows: applied by the process to itself,
before the foreign code is there.

Each measure stands for itself, and what could not be had is told, so that a reviewer knows what a result is worth.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import pwd
import resource
import shutil
import signal
import socket
import stat
import struct
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

import msgspec

from jupyter_mlops.checks import landlock

_PDEATHSIG, _CAPBSET_DROP, _CHILD_SUBREAPER, _NO_NEW_PRIVS = 1, 24, 36, 38
_LAST_CAPABILITY = 63
_CAPABILITY_VERSION_3 = 0x20080522
_NEWNS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = 0x20000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
_MS_REC, _MS_PRIVATE, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 0x4000, 0x40000, 2, 4, 8
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
_MOST_PROCESSES = 4096
_MOST_OPEN_FILES = 4096
_LARGEST_FILE = 16 << 30
_SPARE_BYTES = 128 << 20

_SYSTEM = (
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/bin",
    "/sbin",
    "/proc",
    "/sys/devices/system",
    "/sys/fs/cgroup",
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/fonts",
    "/etc/gai.conf",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ipython",
    "/etc/jupyter",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/pki/tls",
    "/etc/protocols",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/timezone",
    "/dev/random",
    "/dev/urandom",
    "/run/systemd/resolve",
)
"""What programs read of a system: not all of /etc, where secrets are."""
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full")

_libc = ctypes.CDLL(None, use_errno=True)


class Isolation(msgspec.Struct, frozen=True, kw_only=True):
    """What encloses a process. None means that the measure is there, a text why it is not."""

    files: str | None
    """It reaches no files but its own, those it was given, and the installed programs and packages (Landlock)."""
    user: str | None
    """It belongs to an operating-system user of its own."""
    processes: str | None
    """It sees no process but its own, and nothing that it starts outlives it (a PID namespace)."""
    network: str | None
    """It has no network."""

    @property
    def is_confined(self) -> bool:
        """Whether it cannot touch the files of the user that the worker runs as."""
        return self.files is None or self.user is None

    @property
    def missing(self) -> tuple[str, ...]:
        """What is not there, a sentence each."""
        return tuple(f"{field}: {getattr(self, field)}" for field in self.__struct_fields__ if getattr(self, field))


class Enclosure(msgspec.Struct, frozen=True, kw_only=True):
    """How a process is to be enclosed."""

    folder: str
    """All that belongs to it is in this folder, which is removed when its parent is killed."""
    work: str
    """The folder that it may write to; it is that of its temporary files too."""
    readable: tuple[str, ...] = ()
    """What else it is given."""
    network: bool = False
    """Whether it keeps the worker's network."""
    account: tuple[int, int] | None = None
    """The ids of the operating-system user and group that it shall have."""
    no_account: str | None = None
    """Why it has no account of its own."""
    memory: int
    """Bytes that a process may allocate."""
    seconds: float
    """How long it may run: a process may use so much time of each processor."""


def enter(enclosure: Enclosure) -> tuple[str | None, str | None]:
    """Fork, and go on in the child, in namespaces of its own where that is possible: gives what is missing of the
    measures *processes* and *network*. The parent supervises: it ends as the child ends, with 128 and the number of the
    signal that killed it, after it has killed all that the child started; when it is asked to (SIGTERM) or its own
    parent dies, at once."""
    network = "it was left to it" if enclosure.network else None
    separate = _NEWPID | _NEWIPC | (0 if enclosure.network else _NEWNET)
    processes = _tried(lambda: _try_namespaces(separate, enclosure))
    if processes is None:
        _unshare(separate)
    elif network is None:
        network = _tried(lambda: _unshare(_NEWNET))
        if network is None:
            _unshare(_NEWNET)
    child = os.fork()
    if child:
        _supervise(child, Path(enclosure.folder))
    os.setsid()
    if processes is None:
        _mount(enclosure)
    if network is None:
        with contextlib.suppress(OSError):
            _raise_loopback()
    return processes, network


def confine(enclosure: Enclosure) -> str | None:
    """Give up what the enclosed code must not have; gives what is missing of the measure *files*. This process must
    have one thread."""
    _limit(enclosure)
    _drop_privileges(enclosure.account)
    # Becoming another user forgets it.
    _prctl(_PDEATHSIG, signal.SIGKILL)
    if landlock.version() == 0:
        return "this kernel has no Landlock"
    own = [Path(enclosure.work), *(Path(path) for path in _DEVICES), *Path("/dev").glob("nvidia*")]
    if os.getpid() == 1:
        # In namespaces of its own it has a /dev/shm of its own.
        own.append(Path("/dev/shm"))
    readable = [*(Path(path) for path in _SYSTEM), *installed(), *kernels(), *map(Path, enclosure.readable)]
    try:
        landlock.restrict(readable=readable, writable=own, network=enclosure.network)
    except OSError as error:
        return str(error)
    return None


def installed() -> Iterator[Path]:
    """Where the interpreter and the packages of this process are."""
    yield from (Path(sys.prefix), Path(sys.base_prefix), Path(sys.executable).resolve().parent)
    yield from (Path(entry) for entry in sys.path if entry and Path(entry) != Path.cwd())


def kernels() -> Iterator[Path]:
    """Where Jupyter's kernels are described."""
    from jupyter_core.paths import jupyter_path

    yield from (Path(entry) for entry in jupyter_path("kernels"))


def account_of(user: str | None) -> tuple[tuple[int, int] | None, str | None]:
    """The ids of ``user`` and of its group, for a process that this one starts; else None, and why it cannot be had."""
    if os.geteuid() != 0:
        return None, "only root can give it another user"
    if user is None:
        return None, "none was named"
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        return None, f"there is no user {user!r}"
    if account.pw_uid == 0:
        return None, f"{user!r} is root"
    hidden = next((path for path in map(hidden_from_others, installed()) if path is not None), None)
    if hidden is not None:
        return None, f"{user!r} cannot enter {hidden}, where what it needs is installed"
    return (account.pw_uid, account.pw_gid), None


def hidden_from_others(path: Path) -> Path | None:
    """The folder, ``path`` or one above it, that others than its owner and group cannot enter; None when they can."""
    for place in (path, *path.parents):
        with contextlib.suppress(OSError):
            if place.is_dir() and not place.stat().st_mode & stat.S_IXOTH:
                return place
    return None


# --- namespaces ------------------------------------------------------------------------------------------------------


def _unshare(flags: int) -> None:
    """Leave the namespaces of the parent, in a user namespace where that is needed for it."""
    uid, gid = os.geteuid(), os.getegid()
    if _libc.unshare(flags | (_NEWUSER if uid else 0)):
        raise OSError(ctypes.get_errno(), "namespaces are not allowed here")
    if uid:
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", encoding="ascii")


def _tried(step: Callable[[], object]) -> str | None:
    """Why ``step`` cannot be done, found out in a child; None when it can."""
    if not sys.platform.startswith("linux"):
        return f"{sys.platform} has no namespaces"
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            step()
        except OSError as error:
            os.write(writer, str(error.strerror).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as told:  # noqa: PTH123 - a descriptor, not a path
        reason = told.read().decode()
    os.waitpid(child, 0)
    return reason or None


def _try_namespaces(flags: int, enclosure: Enclosure) -> None:
    _unshare(flags)
    # The first process of a PID namespace is a child.
    reason = _tried(lambda: _mount(enclosure))
    if reason is not None:
        raise OSError(errno.EPERM, reason)


def _mount(enclosure: Enclosure) -> None:
    """See only the processes, the shared memory and (without a network) the sockets of these namespaces."""
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    mounts: list[tuple[bytes | None, bytes, bytes | None, int, bytes | None]] = [
        (None, b"/", None, _MS_REC | _MS_PRIVATE, None),
        (b"proc", b"/proc", b"proc", flags, None),
        (b"tmpfs", b"/dev/shm", b"tmpfs", flags, b"mode=1777"),
    ]
    if not enclosure.network and not enclosure.work.startswith("/run/"):
        # The sockets of a machine's services are there.
        mounts.append((b"tmpfs", b"/run", b"tmpfs", flags, b"mode=755"))
    if _libc.unshare(_NEWNS):
        raise OSError(ctypes.get_errno(), "mounts of its own are not allowed here")
    for mount in mounts:
        if _libc.mount(*mount):
            raise OSError(ctypes.get_errno(), f"{mount[1].decode()} cannot be mounted")


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16sH22x", b"lo", 0)
        flags = struct.unpack("16sH22x", fcntl.ioctl(any_socket, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))


def _supervise(child: int, folder: Path) -> NoReturn:
    def stop(number: int, frame: FrameType | None) -> NoReturn:  # noqa: ARG001 - as signal calls it
        raise _Stopped

    code, parent = 128 + signal.SIGKILL, os.getppid()
    try:
        signal.signal(signal.SIGTERM, stop)
        # What loses its parent becomes this process's child.
        _prctl(_CHILD_SUBREAPER, 1)
        _prctl(_PDEATHSIG, signal.SIGTERM)
        while True:
            ended, status = os.wait()
            if ended == child:
                code = os.waitstatus_to_exitcode(status)
                break
    except _Stopped:
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _end_all()
        if os.getppid() != parent:
            # Whose it is was killed, and cannot remove it any more.
            shutil.rmtree(folder, ignore_errors=True)
        os._exit(code if code >= 0 else 128 - code)


class _Stopped(BaseException):
    """SIGTERM came."""


def _end_all() -> None:
    """Kill every process below this one, until there is none."""
    import psutil

    while True:
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        time.sleep(0.005)


# --- limits and privileges -------------------------------------------------------------------------------------------


def _limit(enclosure: Enclosure) -> None:
    cpus = os.cpu_count() or 1
    for kind, most in (
        # Of what a process has allocated, not of what it has mapped. Libraries of linear algebra allocate for each
        # processor what they hardly use; what is used is watched from outside.
        (resource.RLIMIT_DATA, enclosure.memory + cpus * _SPARE_BYTES),
        (resource.RLIMIT_CPU, round(enclosure.seconds * cpus) + 1),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, _LARGEST_FILE),
        (resource.RLIMIT_NOFILE, _MOST_OPEN_FILES),
        (resource.RLIMIT_NPROC, _MOST_PROCESSES),
    ):
        _, hard = resource.getrlimit(kind)
        limit = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (limit, limit))


def _drop_privileges(account: tuple[int, int] | None) -> None:
    """No capabilities, also not by the execution of a program; and the user ``account``."""
    for capability in range(_LAST_CAPABILITY + 1):
        _prctl(_CAPBSET_DROP, capability)
    if account is not None:
        uid, gid = account
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    if sys.platform.startswith("linux"):
        _libc.capset(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0), bytes(24))
    _prctl(_NO_NEW_PRIVS, 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform.startswith("linux"):
        _libc.prctl(option, value, 0, 0, 0)
