"""Where a command goes: which app, which fly.toml, which platform, which token.

Reads the file and the environment that it is given; opens no connection.
"""

from __future__ import annotations

import errno
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from deploy.addresses import is_loopback, url_is_loopback
from deploy.commands.environment import check_network
from deploy.errors import UsageProblem
from deploy.flytoml.appconfig import AppConfig, parse
from deploy.wording import printable

DEFAULT_ADDRESS = "https://api.machines.dev"
_LARGEST_CONFIG_BYTES = 1024 * 1024
_LARGEST_FILES_BYTES = 1024 * 1024  # of [[files]] together: every machine's configuration has them
_APP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`config` is None where a command can do without fly.toml and there is none.

    `app_from` is the option or variable that named another app than fly.toml does,
    empty where they agree. `organization` (FLY_ORG) is where a first deploy creates
    the app; `directory` and `config_path` are as they were given, empty where they
    were not.
    """

    app: str
    config: AppConfig | None
    address: str
    token: str
    app_from: str = ""
    organization: str = "personal"
    directory: str = ""
    config_path: str = ""


def find_target(
    directory: Path,
    *,
    app: str | None,
    config_path: Path | None,
    environ: Mapping[str, str],
    needs_config: bool,
) -> Target:
    """Options before the environment (FLY_APP, FLY_CONFIG) before fly.toml. Raises UsageProblem."""
    if not directory.is_dir():
        raise _no_directory(directory)
    config_path = config_path or _named_config(environ)
    is_wanted = needs_config or config_path is not None
    config = _config(config_path or directory / "fly.toml", is_wanted=is_wanted, app=app)
    check_network(environ)
    address = read_address(environ.get("FLY_FLAPS_BASE_URL") or DEFAULT_ADDRESS)
    named, app_from = _app(app, environ, config)
    return Target(
        app=named,
        app_from=app_from,
        config=config,
        address=address,
        token=read_token(address, environ),
        organization=environ.get("FLY_ORG") or "personal",
        directory="" if directory == Path() else str(directory),
        config_path=str(config_path or ""),
    )


def _app(app: str | None, environ: Mapping[str, str], config: AppConfig | None) -> tuple[str, str]:
    """The app's name, and what named it against fly.toml: empty where they agree."""
    of_file = config.app if config else None
    name = _app_name(app or environ.get("FLY_APP") or of_file)
    said_by = "--app" if app else "FLY_APP"
    return name, said_by if of_file not in (None, name) else ""


def _named_config(environ: Mapping[str, str]) -> Path | None:
    return Path(environ["FLY_CONFIG"]) if environ.get("FLY_CONFIG") else None


def _config(path: Path, *, is_wanted: bool, app: str | None) -> AppConfig | None:
    """One that is not wanted is read for the app's name, where it is there and none is given."""
    return read_config(path) if is_wanted or (path.is_file() and not app) else None


def _no_directory(directory: Path) -> UsageProblem:
    hint = "give the directory of the app as DIR"
    if directory.suffix == ".toml":
        hint = f"meant --config? `deploy --config {printable(str(directory))}`"
    elif "=" in directory.name:
        hint = "`deploy scale` takes one GROUP=N at a time"
    return UsageProblem(f"there is no directory {printable(str(directory))!r}", hint=hint)


def _app_name(name: str | None) -> str:
    if not name:
        raise UsageProblem(
            "no app is named",
            hint='give --app NAME, or write app = "NAME" into fly.toml, or set FLY_APP',
        )
    if not _APP_NAME.fullmatch(name):
        raise UsageProblem(
            f"{name!r} is not an app name", hint="write letters, digits and dashes, as in my-app"
        )
    return name


def refuse_unsendable(what: str, text: str) -> None:
    """Raise UsageProblem for text that holds half a character or a NUL."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageProblem(f"{what} is not UTF-8 text", hint="give it as UTF-8") from None
    if "\0" in text:
        raise UsageProblem(f"{what} holds a NUL character", hint="leave it out")


def read_config(path: Path) -> AppConfig:
    """The fly.toml at `path`."""
    try:
        data = _read_regular(path, _LARGEST_CONFIG_BYTES + 1)
    except FileNotFoundError:
        raise UsageProblem(
            f"{path} does not exist",
            hint="go to the directory of the app, give it as DIR, or name the file with --config",
        ) from None
    except OSError as error:
        raise UsageProblem(
            f"{path} cannot be read: {error.strerror}",
            hint="check the file and its permissions, or name another with --config",
        ) from None
    if len(data) > _LARGEST_CONFIG_BYTES:
        raise UsageProblem(f"{path} is over 1 MiB", hint="this is not a fly.toml")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageProblem(
            f"{path} is not UTF-8 text (byte {error.start})", hint="save it as UTF-8"
        ) from None
    return parse(text, name=str(path), read_file=_local_files(path.parent))


def _local_files(directory: Path) -> Callable[[str], bytes]:
    """Reads one `local_path` after the other, until all that was read is over the limit."""
    left_bytes = _LARGEST_FILES_BYTES

    def read(name: str) -> bytes:
        nonlocal left_bytes
        data = _read_regular(directory / name, left_bytes + 1)
        if len(data) > left_bytes:
            raise OSError(errno.EFBIG, "the local files are over 1 MiB together")
        left_bytes -= len(data)
        return data

    return read


def _read_regular(path: Path, most_bytes: int) -> bytes:
    """The file's first bytes. Raises OSError, also for a directory or a pipe behind a link."""
    # Checked before it is opened: opening a pipe waits for its writer.
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "it is a directory")
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "it is not a regular file")
    with path.open("rb") as file:
        return file.read(most_bytes)


def read_address(address: str) -> str:
    """A base URL that a token may be sent to: https, or http on the loopback."""
    hint = f"FLY_FLAPS_BASE_URL is a URL such as {DEFAULT_ADDRESS} or http://127.0.0.1:4280"
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise UsageProblem(f"{address!r} is not a URL: {error}", hint=hint) from None
    if parts.scheme not in ("http", "https") or not host or parts.username or parts.query:
        raise UsageProblem(f"{address!r} is not the base URL of a Machines API", hint=hint)
    if parts.scheme == "http" and not is_loopback(host):
        raise UsageProblem(
            f"{address} would send the token unencrypted to another computer",
            hint="use https; plain http is for the loopback only",
        )
    return address.rstrip("/").removesuffix("/v1")


def read_token(address: str, environ: Mapping[str, str]) -> str:
    """FLY_API_TOKEN; on the loopback there may be none."""
    token = environ.get("FLY_API_TOKEN", "").strip()
    if not token and not url_is_loopback(address):
        raise UsageProblem(
            "no token: FLY_API_TOKEN is not set",
            hint='set it with: export FLY_API_TOKEN="$(fly tokens create deploy)"',
        )
    if not (token.isascii() and token.isprintable()):
        raise UsageProblem(
            "FLY_API_TOKEN holds characters that no token has",
            hint="copy the token again, as one line",
        )
    return token
