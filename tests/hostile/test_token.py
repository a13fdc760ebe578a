"""The token is told to nobody: not on screen, on disk, in an exception or in a debug log."""

from __future__ import annotations

import io
import logging
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.worlds import outside
from tests.worlds.liar import COMMANDS, TOKEN, Answer, Lie, live_through
from tests.worlds.lies import LIES
from tests.worlds.outside import LIMIT_S, V1, Project, clean_environ, platform, write_project

SECRET = "planted0in0plain0sight0but0never0to0be0told"  # noqa: S105 - it opens nothing

# Runs `deploy` as a person who hunts a fault would: every logger at its loudest.
LOUD = """
import logging, sys
logging.basicConfig(level=1, stream=sys.stderr, force=True)
sys.argv[0] = "deploy"
from deploy.cli import main
main()
"""


def test_with_every_log_turned_on_the_token_is_nowhere(tmp_path: Path) -> None:
    with platform(tmp_path / "platform", "--token", SECRET) as address:
        write_project(tmp_path / "app")
        project = Project(tmp_path / "app", "quiet", address, {"FLY_API_TOKEN": SECRET})
        said = [
            _loudly(project, *words)
            for words in (
                ("--image", V1, "--deploy-retries", "1", "--report", "report.json"),
                ("--image", V1, "--output", "json", "--force"),
                ("status",),
                ("plan", "--image", V1),
                ("history", "--output", "json"),
                ("rollback",),
                ("report",),
            )
        ]
        refused = project.deploy("status", FLY_API_TOKEN=f"{SECRET}-and-wrong")
    assert refused.code == 4
    assert any("DEBUG:httpcore" in text for text in said)  # the log is on
    everything = "".join([*said, refused.out, refused.err])
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".jsonl" for path in files)
    assert any(path.name == "report.json" for path in files)
    assert any(path.name == "platform.log" for path in files)
    told = [path for path in files if SECRET.encode() in path.read_bytes()]
    assert told == []
    assert SECRET not in everything


def test_machines_do_not_learn_the_token_that_the_platform_has_from_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "platform"
    write_project(directory)
    server = directory / "held.py"
    server.write_text(f"import os\nprint(dict(os.environ), flush=True)\n{server.read_text()}")
    with monkeypatch.context() as patch:
        given = clean_environ(directory) | {"TIDEGATE_LOCAL_TOKEN": SECRET}
        patch.setattr(outside, "clean_environ", lambda _: given)
        with platform(directory) as address:
            patch.undo()
            project = Project(directory, "quiet", address, {"FLY_API_TOKEN": SECRET})
            done = project.must("--image", V1)
            refused = project.deploy("status", FLY_API_TOKEN="another")  # noqa: S106 - and wrong
    assert refused.code == 4  # the platform has the token
    assert "FLY_MACHINE_ID" in (directory / "platform.log").read_text()  # a machine told its own
    told = [p for p in tmp_path.rglob("*") if p.is_file() and SECRET.encode() in p.read_bytes()]
    assert told == []
    assert SECRET not in done.out + done.err


def test_journals_are_their_users_alone(tmp_path: Path) -> None:
    with platform(tmp_path / "platform") as address:
        write_project(tmp_path / "app")
        Project(tmp_path / "app", "quiet", address).must("--image", V1)
    home = Path(clean_environ(tmp_path / "app")["XDG_STATE_HOME"])
    kept = [home / "tidegate", *(home / "tidegate").rglob("*")]
    assert any(path.suffix == ".jsonl" for path in kept)
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in kept}
    assert modes == {path: 0o700 if path.is_dir() else 0o600 for path in kept}


@settings(
    max_examples=15,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(command=st.sampled_from(sorted(COMMANDS)), lies=LIES)
def test_whatever_the_platform_answers_no_exception_holds_the_token(
    command: str, lies: list[Lie], tmp_path: Path
) -> None:
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    root, before = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(1)
    try:
        outcome = live_through(command, tmp_path, lies)
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
    told = [outcome.said, log.getvalue(), repr(outcome.result), *_words_of(outcome.error)]
    told += [path.read_text() for path in tmp_path.rglob("*.jsonl")]
    assert not any(TOKEN.split()[1] in text for text in told)


@pytest.mark.parametrize("status", [302, 307, 308])
def test_no_redirect_is_followed_with_the_token(status: int, tmp_path: Path) -> None:
    away = Answer(status, ((b"location", b"http://127.0.0.1:1/elsewhere"),))
    outcome = live_through("status", tmp_path, [Lie(1, lambda _: away, 10**9)])
    assert f"HTTP {status}" in outcome.said


def _words_of(error: BaseException | None) -> list[str]:
    """Everything an exception could print: itself, its cause and context, its notes and frames."""
    words: list[str] = []
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        words += [repr(each), str(each), repr(each.args), repr(vars(each))]
        waiting += [each.__cause__, each.__context__]
        waiting += each.exceptions if isinstance(each, BaseExceptionGroup) else ()
    return words


def _loudly(project: Project, *words: str) -> str:
    steering = {"FLY_FLAPS_BASE_URL": project.address, "FLY_APP": project.app}
    done = subprocess.run(
        [sys.executable, "-c", LOUD, *words],
        check=False,
        cwd=project.directory,
        env=clean_environ(project.directory) | steering | project.environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    return done.stdout + done.stderr
