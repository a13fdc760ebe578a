"""Free ports on this computer, below those that the system gives to clients."""

from __future__ import annotations

import hashlib
import secrets
import socket
from collections.abc import Iterable

FOR_MACHINES = range(15000, 25000)
FOR_SERVICES = range(25000, 32000)


class Ports:
    """Hands out ports for machines to listen on; none twice until it is given back."""

    def __init__(self) -> None:
        self._taken: set[int] = set()

    def take(self) -> int:
        """Raises OSError when no port is left."""
        start = secrets.randbelow(len(FOR_MACHINES))
        for step in range(len(FOR_MACHINES)):
            port = FOR_MACHINES[(start + step) % len(FOR_MACHINES)]
            if port not in self._taken and is_free(port):
                self._taken.add(port)
                return port
        raise OSError("no free port is left for a machine")

    def give_back(self, ports: Iterable[int]) -> None:
        self._taken.difference_update(ports)


def moved_ports(app: str, port: int) -> Iterable[int]:
    """Where a service's port may be moved to: the same order for the same app, always."""
    digest = hashlib.blake2b(f"{app}:{port}".encode(), digest_size=4).digest()
    start = int.from_bytes(digest, "big")
    return (FOR_SERVICES[(start + step) % len(FOR_SERVICES)] for step in range(len(FOR_SERVICES)))


def is_free(port: int) -> bool:
    """Whether a server could listen on it now, on any address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
