"""Where processes listen, read from Linux's /proc; elsewhere nothing is known.

The files are described in proc(5): a socket's inode in /proc/PID/fd leads to its
line in /proc/net/tcp, where addresses stand as words in the host's byte order.
"""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from deploy.local.runtime import Address

_PROC = Path("/proc")
_SESSION = 3  # its place in /proc/PID/stat, counted after the command's closing bracket
_LISTENS = "0A"
_INODE = re.compile(r"socket:\[(\d+)\]")


def listening_is_known() -> bool:
    return _PROC.joinpath("net", "tcp").exists()


def listening(session: int) -> list[Address]:
    """The TCP addresses that the processes of a session take connections on."""
    inodes = {inode for process in _processes(session) for inode in _sockets(process)}
    if not inodes:
        return []
    listeners = _listeners(_PROC / "net")
    return sorted({address for inode, address in listeners if inode in inodes})


def listening_beside(pid: int) -> list[Address]:
    """The TCP addresses taken in the network of a process: a container has one of its own."""
    return sorted({address for _, address in _listeners(_PROC / str(pid) / "net")})


def _processes(session: int) -> Iterator[Path]:
    with suppress(OSError):
        for entry in _PROC.iterdir():
            if entry.name.isdigit() and _session_of(entry) == str(session):
                yield entry


def _session_of(process: Path) -> str:
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[_SESSION]
    except (OSError, IndexError):
        return ""  # it has gone


def _sockets(process: Path) -> Iterator[str]:
    with suppress(OSError):
        for entry in (process / "fd").iterdir():
            with suppress(OSError):
                found = _INODE.fullmatch(str(entry.readlink()))
                if found:
                    yield found[1]


def _listeners(net: Path) -> Iterator[tuple[str, Address]]:
    """(inode, address) of every TCP socket that listens in a network."""
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        with suppress(OSError):
            for line in (net / name).read_text().splitlines()[1:]:
                _, local, _, state, *rest = line.split()
                if state == _LISTENS:
                    host, _, port = local.partition(":")
                    yield rest[5], (_host(host, family), int(port, 16))


def _host(words: str, family: socket.AddressFamily) -> str:
    values = [int(words[start : start + 8], 16) for start in range(0, len(words), 8)]
    return socket.inet_ntop(family, struct.pack(f"={len(values)}I", *values))
