"""Bad input to `deploy`: one clear line with a hint, the right exit code, and nothing changed.

The command runs in this process, since there are many cases and a process takes
half a second; the platform is real.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deploy.cli import main
from tests.worlds.outside import FLY_TOML, V1, V2, Done, Project, clean_environ, write_project

Deploy = Callable[..., Done]

FLAGS = """version: 1
flags:
  deploy-retries:
    bucket_by: app
    percent: 5
    inside: 5
    outside: 0
"""


@dataclass(frozen=True)
class Bad:
    """One bad input: what is typed, what is set, what fly.toml holds, what has to be named."""

    name: str
    names: str  # the error has to name it
    words: tuple[str, ...] = ("-i", V2)
    environ: dict[str, str] = field(default_factory=dict)
    config: str | bytes | None = FLY_TOML
    code: int = 2


RETRIES = [
    Bad(f"--deploy-retries {value!r}", repr(value), ("-i", V2, "--deploy-retries", value))
    for value in ("-1", "1.5", "yes", "", "٣", "1e3", "99999")
]
OPTIONS = [
    Bad("unknown strategy", "blue", ("-i", V2, "--strategy", "blue")),
    Bad("unknown option", "--strtegy", ("-i", V2, "--strtegy", "rolling")),
    Bad("max-unavailable 0", "0", ("-i", V2, "--max-unavailable", "0")),
    Bad("max-unavailable nan", "nan", ("-i", V2, "--max-unavailable", "nan")),
    Bad("wait-timeout", "soon", ("-i", V2, "--wait-timeout", "soon")),
    Bad("lease-timeout", "lease", ("-i", V2, "--lease-timeout", "1s")),
    Bad("env without a value", "KEY=VALUE", ("-i", V2, "--env", "KEY")),
    Bad("report into nowhere", "nowhere", ("-i", V2, "--report", "nowhere/report.json")),
    Bad("no such directory", "elsewhere", ("elsewhere", "-i", V2)),
    Bad("no such config", "other.toml", ("-i", V2, "--config", "other.toml")),
    Bad("no such flags", "gone.yaml", ("-i", V2, "--flags", "gone.yaml")),
    Bad("no image", "image", ()),
    Bad("an image with a line break", "image", ("-i", "hello:v2\nhello:v3")),
    Bad("scale without a number", "app=3", ("scale", "app")),
    Bad("scale to a negative number", "app=3", ("scale", "app=-1")),
]
ENVIRONMENT = [
    Bad("no app", "app", environ={"FLY_APP": ""}),
    Bad("no token", "FLY_API_TOKEN", environ={"FLY_FLAPS_BASE_URL": "https://machines.test"}),
    Bad("plain http elsewhere", "https", environ={"FLY_FLAPS_BASE_URL": "http://machines.test"}),
    Bad("no URL", "FLY_FLAPS_BASE_URL", environ={"FLY_FLAPS_BASE_URL": "machines.test"}),
    Bad("a broken token", "FLY_API_TOKEN", environ={"FLY_API_TOKEN": "two\nlines"}),
    Bad("a lone surrogate as the app", "app", ("-i", V2, "--app", "hello\udcff")),
]
CONFIG = [
    Bad("fly.toml missing", "fly.toml", config=None),
    Bad("fly.toml is no TOML", "fly.toml", config="app = ["),
    Bad("fly.toml is no text", "fly.toml", config=b"\xff\xfe\x00"),
    Bad("fly.toml over the limit", "fly.toml", config=FLY_TOML + "#" * 2**20),
    Bad("app is a number", "app", config="app = 3\n"),
    Bad("env is a list", "env", config='env = ["A=1"]\n'),
    Bad("unknown strategy in fly.toml", "deploy.strategy", config='[deploy]\nstrategy = "blue"\n'),
    Bad("max_unavailable = 0", "max_unavailable", config="[deploy]\nmax_unavailable = 0\n"),
]


@pytest.mark.parametrize(
    "bad", [*RETRIES, *OPTIONS, *ENVIRONMENT, *CONFIG], ids=lambda bad: bad.name
)
def test_it_is_refused_in_one_line_with_a_hint_and_changes_nothing(
    steady: Project, tmp_path: Path, deploy: Deploy, bad: Bad
) -> None:
    before = steady.versions()
    if bad.config is not None:
        text = bad.config if isinstance(bad.config, bytes) else bad.config.encode()
        (tmp_path / "fly.toml").write_bytes(text)

    done = deploy(tmp_path, *bad.words, **bad.environ)

    assert done.code == bad.code, done
    error, hint = done.err.splitlines()
    assert error.startswith("Error: ")
    assert hint.startswith("Hint: ")
    assert bad.names.lower() in (error + hint).lower()
    assert done.out == ""
    assert steady.versions() == before
    assert steady.leases() == []


FAULTY = {
    "empty": "",
    "a list": "- deploy-retries\n",
    "wrong types": FLAGS.replace("percent: 5", "percent: [5]"),
    "an unknown key": FLAGS + "    percnt: 6\n",
    "a duplicate key": FLAGS + "    percent: 6\n",
    "percent 101": FLAGS.replace("percent: 5", "percent: 101"),
    "percent -1": FLAGS.replace("percent: 5", "percent: -1"),
    "percent 0.0001": FLAGS.replace("percent: 5", "percent: 0.0001"),
    "percent NaN": FLAGS.replace("percent: 5", "percent: .nan"),
    "percent '5%'": FLAGS.replace("percent: 5", 'percent: "5%"'),
    "a ramp out of order": FLAGS.replace(
        "    percent: 5\n",
        "    ramp:\n"
        "      - {at: 2026-02-01T00:00:00Z, percent: 10}\n"
        "      - {at: 2026-01-01T00:00:00Z, percent: 20}\n",
    ),
    "over the limit": FLAGS + "#" * 2**20,
    "retries that are no number": FLAGS.replace("inside: 5", "inside: many").replace(
        "outside: 0", "outside: none"
    ),
    "no such flag": FLAGS.replace("deploy-retries", "other"),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_flags_that_cannot_be_used_are_a_warning_and_no_retries(
    steady: Project, tmp_path: Path, deploy: Deploy, fault: str
) -> None:
    flags = tmp_path / "flags.yaml"
    flags.write_text(FAULTY[fault])

    done = deploy(steady.directory, "-i", V1, "--flags", str(flags))

    no_retries(done)
    if "%" in fault:
        assert "write 5" in done.err


def test_flags_that_are_missing_by_environment_are_a_warning_and_no_retries(
    steady: Project, deploy: Deploy
) -> None:
    no_retries(deploy(steady.directory, "-i", V1, ROLLOUT_FLAGS="gone.yaml"))


@pytest.mark.parametrize("answer", ["refuses", "hangs", "HTML", "plain http elsewhere"])
def test_flags_at_an_address_that_is_no_good_are_a_warning_and_no_retries(
    steady: Project, deploy: Deploy, answer: str
) -> None:
    with address_that(answer) as url:
        no_retries(deploy(steady.directory, "-i", V1, "--flags", url))


def no_retries(done: Done) -> None:
    """The deploy goes on, on the legacy path; that it had nothing to do leaves all as it was."""
    assert done.code == 0, done
    assert "-> 0 (the flag cannot be used): legacy path" in done.out
    (warning,) = done.err.splitlines()
    assert warning.startswith("warning: ")
    assert "nothing to do" in done.out


@pytest.fixture(scope="module")
def steady(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """An app on v1 that no test of this module may change."""
    directory = tmp_path_factory.mktemp("steady")
    write_project(directory)
    project = Project(directory, "steady", address)
    project.must("-i", V1)
    yield project
    project.remove()


@pytest.fixture
def deploy(
    steady: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Deploy:
    """`deploy WORD...` as the console script runs it, in a directory."""

    def run(directory: Path, *words: str, **environ: str) -> Done:
        wanted = clean_environ(steady.directory) | steady.steering | environ
        for name in os.environ.keys() - wanted.keys():
            monkeypatch.delenv(name)
        for name, value in wanted.items():
            monkeypatch.setenv(name, value)
        monkeypatch.chdir(directory)
        monkeypatch.setattr("sys.argv", ["deploy", *words])
        with pytest.raises(SystemExit) as left:
            main()
        said = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return Done(left.value.code, said.out, said.err)

    return run


@contextmanager
def address_that(answers: str) -> Iterator[str]:
    if answers == "plain http elsewhere":
        yield "http://flags.test/flags.yaml"
        return
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        if answers == "hangs":
            yield f"http://127.0.0.1:{port}/flags.yaml"
            return
    if answers == "refuses":
        yield f"http://127.0.0.1:{port}/flags.yaml"
        return
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/flags.yaml"
        finally:
            server.shutdown()


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><title>Sign in</title>"
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""
