"""A machine's configuration as the engine's: pure, values in and values out."""

from __future__ import annotations

import base64
import io
import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from deploy.local.config import Config, Guest
from deploy.local.runtime import Spec, promised_environment
from deploy.local.runtimes.ownership import Owner

_MIB = 1024 * 1024
_LEAST_MEMORY_MB = 6  # of the engine


def container_config(spec: Spec, owner: Owner, network: str, *, cpus: int) -> dict[str, Any]:
    """The body of POST /containers/create. `cpus` is how many the engine's computer has."""
    config, guest = spec.config, spec.config.guest or Guest()
    memory_bytes = max(guest.memory_mb or 256, _LEAST_MEMORY_MB) * _MIB
    ports = {internal: internal for internal in config.internal_ports}
    env = {**(config.env or {}), **promised_environment(spec, ports)}
    return {
        "Image": config.image,
        "Hostname": spec.machine_id,
        "Env": [f"{key}={value}" for key, value in env.items()],
        "Labels": owner.labels | {"tidegate.app": spec.app, "tidegate.machine": spec.machine_id},
        **_command(config),
        "HostConfig": {
            "NetworkMode": network,
            "Init": True,  # as on Fly.io: signals reach an app that is not prepared to be process 1
            "Memory": memory_bytes,
            "MemorySwap": memory_bytes,  # no swap
            "NanoCpus": min(guest.cpus or 1, cpus) * 10**9,
            "LogConfig": {"Type": "local", "Config": {}},
            "Mounts": [
                {
                    "Type": "volume",
                    "Source": owner.volume_name(mount.volume or spec.machine_id),
                    "Target": mount.path,
                    "VolumeOptions": {"Labels": owner.volume_labels},
                }
                for mount in config.mounts or ()
                if mount.path
            ],
        },
    }


def unreadable_file(config: Config) -> str:
    """What is wrong with one of its files, as a sentence; "" if they are all right."""
    for file in config.files or ():
        if not file.guest_path.startswith("/"):
            return f"config.files: {file.guest_path[:40]!r} is not a path from the root"
        try:
            base64.b64decode(file.raw_value or "", validate=True)
        except ValueError:
            return f"config.files: the raw_value of {file.guest_path[:40]!r} is not base64"
    return ""


def files_as_tar(config: Config) -> Iterator[tuple[str, bytes]]:
    """(directory to unpack in, archive) with what [[files]] put into a machine."""
    files = [file for file in config.files or () if file.raw_value is not None]
    if not files:
        return
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for file in files:
            data = base64.b64decode(file.raw_value or "")
            entry = tarfile.TarInfo(str(PurePosixPath(file.guest_path)).lstrip("/"))
            entry.size, entry.mode = len(data), file.mode or 0o644
            archive.addfile(entry, io.BytesIO(data))
    yield "/", packed.getvalue()


def _command(config: Config) -> dict[str, list[str]]:
    """What replaces the image's own: `exec` all of it, `entrypoint` and `cmd` their part."""
    init = config.command
    if init.exec:
        return {"Entrypoint": list(init.exec), "Cmd": []}
    parts = {"Entrypoint": init.entrypoint, "Cmd": init.cmd}
    return {key: list(words) for key, words in parts.items() if words}
