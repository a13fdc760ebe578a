"""What the environment says of the network, checked before anything is sent to the platform.

httpx reads these variables itself and fails in words of its own, or not before
the first request. A proxy's address may hold a password: it is never shown.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from deploy.addresses import url_is_loopback
from deploy.errors import Outage, UsageProblem

_CONNECT_S = 2.0
_REACH_S = 4.0
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_CERTIFICATES = {"SSL_CERT_FILE": "cafile", "SSL_CERT_DIR": "capath"}


def check_network(environ: Mapping[str, str]) -> None:
    """Raise UsageProblem, naming the variable, for one that httpx could not use."""
    for name, value in environ.items():
        if name.lower() in _PROXIES and value:
            _check_proxy(name, value)
    for name, argument in _CERTIFICATES.items():
        if environ.get(name):
            _check_certificates(name, argument, environ[name])


def check_local(address: str) -> None:
    """Raise Outage at once where nothing listens at an address of this computer."""
    if not url_is_loopback(address):
        return
    parts = urlsplit(address)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or "", port), _CONNECT_S).close()
    except ConnectionRefusedError:
        raise Outage(
            f"nothing listens at {address}",
            hint="`deploy local up` starts the platform on this computer; "
            "leave FLY_FLAPS_BASE_URL unset for Fly.io",
        ) from None
    except OSError:
        return  # it is asked as any other is


def check_reachable(address: str, environ: Mapping[str, str]) -> None:
    """Raise Outage within 4 s where the network does not lead to the address.

    Behind a proxy nothing is tried: the proxy is whom to ask.
    """
    if any(value for name, value in environ.items() if name.lower() in _PROXIES):
        return
    parts = urlsplit(address)
    place = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    failures: list[OSError] = []
    # In a thread of its own: looking up a name has no time limit.
    trying = threading.Thread(target=_connect, args=(place, failures), daemon=True)
    trying.start()
    trying.join(_REACH_S)
    if failures or trying.is_alive():
        reason = (failures[0].strerror or str(failures[0])) if failures else "no answer"
        raise Outage(
            f"cannot reach {place[0]}:{place[1]}: {reason}",
            hint="check the network and FLY_FLAPS_BASE_URL; https://status.flyio.net",
        )


def _connect(place: tuple[str, int], failures: list[OSError]) -> None:
    try:
        socket.create_connection(place, _REACH_S).close()
    except OSError as error:
        failures.append(error)


def _check_proxy(name: str, value: str) -> None:
    hint = f"write http://HOST:PORT, or leave {name} unset"
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise UsageProblem(f"{name} is not the address of a proxy", hint=hint) from None
    if parts.scheme.startswith("socks") and find_spec("socksio") is None:
        raise UsageProblem(
            f"{name} names a SOCKS proxy, which needs the package socksio",
            hint=f"install httpx[socks] beside tidegate, or leave {name} unset",
        )
    if parts.scheme not in ("http", "https", "socks5", "socks5h") or not host:
        raise UsageProblem(f"{name} is not the address of a proxy", hint=hint)


def _check_certificates(name: str, argument: str, path: str) -> None:
    try:
        if argument == "capath":
            Path(path).stat()
        ssl.create_default_context(
            cafile=path if argument == "cafile" else None,
            capath=path if argument == "capath" else None,
        )
    except OSError as error:  # ssl.SSLError is one
        reason = "it holds no certificates" if isinstance(error, ssl.SSLError) else error.strerror
        raise UsageProblem(
            f"{name}: {path} cannot be used: {reason}",
            hint=f"name certificates in PEM form, or leave {name} unset",
        ) from None
