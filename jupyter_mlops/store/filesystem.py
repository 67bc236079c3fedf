"""On what kind of file system a path lies: SQLite's WAL needs shared memory, which network file systems do not give."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

_NETWORK = frozenset(
    "9p acfs afp afpfs afs beegfs ceph cifs coda davfs fuse fhgfs gfs gfs2 glusterfs gpfs lustre ncpfs nfs nfs4 ocfs2 "
    "orangefs panfs prl_fs pvfs2 smb2 smb3 smbfs vboxsf virtiofs vmhgfs webdav weka wekafs".split()
)
_LOCAL_FUSE = frozenset({"fuse.fuse-overlayfs", "fuse.ntfs-3g", "fuse.gocryptfs"})


def network_file_system(path: Path, mounts: str | None = None) -> str | None:
    """The type of the file system of ``path`` when other hosts may use it too, such as ``nfs4``; None when it is local.

    ``mounts`` is the text of ``/proc/self/mountinfo``, or what ``mount`` prints on macOS; read here when None.
    """
    if mounts is None:
        mounts = _read_mounts()
    kind = _type_of(path.resolve(), mounts)
    if kind in _NETWORK or (kind.startswith("fuse.") and kind not in _LOCAL_FUSE):
        return kind
    return None


def _read_mounts() -> str:
    table = Path("/proc/self/mountinfo")
    if table.exists():
        return table.read_text(errors="surrogateescape")
    if sys.platform == "darwin":
        return subprocess.run(["/sbin/mount"], capture_output=True, text=True, check=False).stdout
    return ""


def _type_of(path: Path, mounts: str) -> str:
    """The type of the mount with the longest prefix of ``path``; of equal ones the last, which covers the others."""
    longest, kind = -1, ""
    for line in mounts.splitlines():
        point, mounted = _linux_mount(line) if " - " in line else _mac_mount(line)
        if point and path.is_relative_to(point) and len(point) >= longest:
            longest, kind = len(point), mounted
    return kind


def _linux_mount(line: str) -> tuple[str, str]:
    left, _, right = line.partition(" - ")
    point = left.split(" ")[4]
    # Blanks and backslashes in a mount point are written in octal.
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point), right.split(" ")[0]


def _mac_mount(line: str) -> tuple[str, str]:
    match = re.fullmatch(r".* on (/.*) \((\w+).*\)", line)
    return (match[1], match[2]) if match else ("", "")
