"""A real Docker engine, as tests see it: over its socket, with nothing of ours in between.

The only image is made from nothing but a static busybox, so that no test needs a
network. What a container of it does says its command, or /app: an HTTP server that
answers as the example's server does, and as its tag says.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import shutil
import socket
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from tests.worlds.outside import until

IMAGE = "tidegate-test:1"
REPOSITORY = IMAGE.partition(":")[0]
LABEL = "tidegate.platform"

APP = """\
#!/bin/sh
/bin/busybox mkdir -p /www
echo "image $FLY_IMAGE_REF machine $FLY_MACHINE_ID" > /www/index.html
echo ok > /www/health
case "$FLY_IMAGE_REF" in *sick*) rm /www/health ;; esac
case "$RELEASE" in sick) rm /www/health ;; esac
echo "listening on $PORT"
exec httpd -f -p "$PORT" -h /www
"""


class NoEngine(Exception):
    """No engine, or nothing to make an image of; the text says which."""


def find() -> str:
    """The address of an engine that answers."""
    address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    try:
        with socket.socket(socket.AF_UNIX) as tried:
            tried.connect(address.removeprefix("unix://"))
        call(address, "GET", "/info")
    except (httpx.HTTPError, OSError) as error:
        raise NoEngine(f"no Docker engine answers at {address}: {error}") from None
    return address


def call(address: str, method: str, path: str, **request: Any) -> Any:
    """One call; its JSON, or None."""
    transport = httpx.HTTPTransport(uds=address.removeprefix("unix://"))
    with httpx.Client(transport=transport, base_url="http://engine", timeout=60) as client:
        answer = client.request(method, path, **request).raise_for_status()
        is_json = "json" in answer.headers.get("content-type", "") and "\n{" not in answer.text
        return answer.json() if is_json and answer.content else None


def make_image(
    address: str,
    image: str = IMAGE,
    *,
    cmd: Sequence[str] = ("/bin/sh", "/app"),
    files: Mapping[str, bytes] | None = None,
    entrypoint: Sequence[str] = (),
    architecture: str = "",
) -> None:
    """An image of busybox and /app, or of these files, that runs `cmd`; for this computer.

    As `docker save` writes it: https://github.com/opencontainers/image-spec has the parts.
    """
    layer = _packed(_files() if files is None else files)
    mine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    about = {
        "architecture": architecture or mine,
        "os": "linux",
        "config": {"Cmd": list(cmd), "Entrypoint": list(entrypoint)},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    manifest = [{"Config": "about.json", "RepoTags": [image], "Layers": ["layer.tar"]}]
    parts = {
        "about.json": json.dumps(about).encode(),
        "manifest.json": json.dumps(manifest).encode(),
        "layer.tar": layer,
    }
    call(address, "POST", "/images/load", content=_packed(parts))


def ours(address: str, state_home: Path) -> list[str]:
    """Containers, networks and volumes of the platforms that keep their files there."""
    filters = {"filters": json.dumps({"label": [LABEL]})}
    found = call(address, "GET", "/containers/json", params={"all": "1"} | filters)
    found += call(address, "GET", "/networks", params=filters)
    found += call(address, "GET", "/volumes", params=filters)["Volumes"] or []
    return [
        str(thing.get("Id") or thing["Name"])
        for thing in found
        if thing["Labels"][LABEL].startswith(str(state_home))
    ]


def write_context(directory: Path, *, files: Mapping[str, str] | None = None) -> None:
    """What `deploy --build` builds the same image from, and no other test the same layers.

    Two that did at once would each have one, and the next build could go on from either.
    """
    directory.mkdir(parents=True, exist_ok=True)
    shutil.copy(busybox(), directory / "busybox")
    (directory / "app").write_text(f"{APP}# of {directory}\n")
    (directory / "Dockerfile").write_text(DOCKERFILE)
    for name, text in (files or {}).items():
        (directory / name).write_text(text)


DOCKERFILE = """\
FROM scratch
COPY app /app
COPY busybox /bin/busybox
COPY busybox /bin/sh
COPY busybox /bin/httpd
ARG RELEASE=v1
ENV RELEASE=$RELEASE
CMD ["/bin/sh", "/app"]
"""


def busybox() -> Path:
    """A busybox that needs no library."""
    found = shutil.which("busybox")
    if found is None:
        raise NoEngine("there is no busybox: apt-get install busybox-static")
    about = subprocess.run([found], capture_output=True, text=True, check=False).stdout
    with Path(found).open("rb") as file:
        is_static = b"ld-linux" not in file.read(4096)
    if not about or not is_static:
        raise NoEngine(f"{found} is not static: apt-get install busybox-static")
    return Path(found)


def _files() -> dict[str, bytes]:
    program = busybox().read_bytes()
    applets = ("busybox", "sh", "httpd", "sleep", "cat", "env", "rm", "echo", "kill", "yes")
    return {"app": APP.encode()} | {f"bin/{name}": program for name in applets}


def _packed(files: Mapping[str, bytes]) -> bytes:
    """As a tar; files of the same content are links to the first."""
    packed, seen = io.BytesIO(), dict[bytes, str]()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.mode = 0o755
            if data in seen:
                entry.type, entry.linkname = tarfile.LNKTYPE, seen[data]
                archive.addfile(entry)
            else:
                seen[data] = name
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    return packed.getvalue()


# What sd_listen_fds(3) says: the first socket is descriptor 3, for the process of that id.
AS_SYSTEMD = 'export LISTEN_PID=$$ LISTEN_FDS=1; exec "${@:2}" 3<&"$1"'


class OwnEngine:
    """A Docker engine of a test's own, that it may end, start again and fill up."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._socket = directory / "docker.sock"
        self.address = f"unix://{self._socket}"
        self._process: subprocess.Popen[bytes] | None = None
        self._held: socket.socket | None = None

    def start(self, *, held: bool = False) -> None:
        """`held`: others listen for it, as systemd does, and go on while it is away."""
        data, runs, pid = (self._directory / name for name in ("data", "exec", "pid"))
        words: list[str | Path] = ["--data-root", data, "--exec-root", runs, "--pidfile", pid]
        words += ["--iptables=false", "--ip6tables=false", "--shutdown-timeout", "1"]
        command = ["dockerd", *words, "--host", "fd://" if held else self.address]
        if held:
            command = ["bash", "-c", AS_SYSTEMD, "-", str(self._hold()), *command]
        else:
            self.let_go()
        with (self._directory / "log").open("a") as log:
            fds = (self._hold(),) if held else ()
            self._process = subprocess.Popen(command, stdout=log, stderr=log, pass_fds=fds)
        until("the engine answers", self._answers)

    def end(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)

    def let_go(self) -> None:
        """Nobody listens for it any more."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def _hold(self) -> int:
        """The descriptor of a socket that listens at its address."""
        if self._held is None:
            self._socket.unlink(missing_ok=True)
            self._held = socket.socket(socket.AF_UNIX)
            self._held.bind(str(self._socket))
            self._held.listen()
        return self._held.fileno()

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as tried:
            if tried.connect_ex(str(self._socket)):
                return False
        with suppress(httpx.HTTPError):
            call(self.address, "GET", "/info")
            return True
        return False


@contextmanager
def own_engine(*, disk_mb: int) -> Iterator[OwnEngine]:
    """With a disk of its own; only root can have one."""
    if os.getuid() != 0 or shutil.which("dockerd") is None:
        raise NoEngine("only root can start an engine: dockerd")
    directory = Path(tempfile.mkdtemp(prefix="tg"))  # short: a socket's path has 107 characters
    disk = directory / "data"
    disk.mkdir()
    mount: list[str | Path] = ["mount", "-t", "tmpfs", "-o", f"size={disk_mb}m", "tmpfs", disk]
    engine = OwnEngine(directory)
    subprocess.run(mount, check=True)
    try:
        engine.start()
        yield engine
    finally:
        engine.end()
        engine.let_go()
        for path in (*(directory / "exec" / "netns").glob("*"), disk):
            subprocess.run(["umount", "--lazy", path], check=False, capture_output=True)
        shutil.rmtree(directory, ignore_errors=True)
