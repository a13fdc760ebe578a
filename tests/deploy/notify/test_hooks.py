from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from deploy.notify.hooks import run_hook
from deploy.notify.posting import NotDelivered
from deploy.notify.settings import Hook
from deploy.readers.report import Report
from tests.deploy.eventful import Story

REPORT = Report.of(Story().tell())
PATH = {"PATH": os.environ["PATH"]}


def test_a_hook_has_the_report_in_its_environment(tmp_path: Path) -> None:
    command = 'env > env.txt; cp "$TIDEGATE_REPORT" report.json; pwd > where.txt'
    run_hook("post-deploy", Hook(command), REPORT, PATH | {"MINE": "kept"}, tmp_path)

    said = dict(line.split("=", 1) for line in (tmp_path / "env.txt").read_text().splitlines())
    assert said["TIDEGATE_APP"] == REPORT.app
    assert said["TIDEGATE_RESULT"] == REPORT.result
    assert said["TIDEGATE_EXIT_CODE"] == str(REPORT.exit_code)
    assert said["TIDEGATE_IMAGE"] == REPORT.image
    assert said["MINE"] == "kept"
    assert json.loads((tmp_path / "report.json").read_text()) == json.loads(REPORT.to_line())
    assert Path((tmp_path / "where.txt").read_text().strip()) == tmp_path.resolve()


def test_a_hook_gets_no_token_of_the_platform(tmp_path: Path) -> None:
    environ = PATH | {"FLY_API_TOKEN": "fm2_planted", "FLY_ACCESS_TOKEN": "fm2_planted"}
    run_hook("pre-deploy", Hook("env > env.txt"), REPORT, environ, tmp_path)
    assert "fm2_planted" not in (tmp_path / "env.txt").read_text()


def test_a_list_of_words_is_run_without_a_shell(tmp_path: Path) -> None:
    run_hook("pre-deploy", Hook(("touch", "$HOME is not read")), REPORT, PATH, tmp_path)
    assert (tmp_path / "$HOME is not read").exists()


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        (Hook("exit 3"), "ended with exit code 3"),
        (Hook("kill -9 $$"), "was ended by signal 9"),
        (Hook(("no-such-program-here",)), "cannot be started: No such file"),
    ],
)
def test_a_hook_that_fails_is_told_with_how(tmp_path: Path, hook: Hook, said: str) -> None:
    with pytest.raises(NotDelivered, match=said):
        run_hook("pre-deploy", hook, REPORT, PATH, tmp_path)


def test_a_hook_is_ended_after_its_time_with_all_that_it_started(tmp_path: Path) -> None:
    command = "sh -c 'while :; do date >> alive.txt; sleep 0.02; done' & wait"
    begin = time.monotonic()
    with pytest.raises(NotDelivered, match=r"within 0\.5 s"):
        run_hook("pre-deploy", Hook(command, 0.5), REPORT, PATH, tmp_path)
    assert time.monotonic() - begin < 5
    size = (tmp_path / "alive.txt").stat().st_size
    time.sleep(0.2)
    assert (tmp_path / "alive.txt").stat().st_size == size


def test_a_signal_that_comes_as_the_hook_begins_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(subprocess.Popen[bytes]):
        """A hook that a signal finds begun, and its starter not yet told its number."""

        def __init__(self, *words: Any, **options: Any) -> None:
            super().__init__(*words, **options)
            (tmp_path / "pid").write_text(str(self.pid))
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_hook("pre-deploy", Hook("exec sleep 600"), REPORT, PATH, tmp_path)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_what_a_hook_prints_goes_to_standard_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run_hook("pre-deploy", Hook("echo said"), REPORT, PATH, tmp_path)
    assert capfd.readouterr() == ("", "said\n")


def test_texts_of_any_length_and_kind_start_the_hook_all_the_same(tmp_path: Path) -> None:
    report = Report(app="a\0b", message="m" * 500_000)
    run_hook("post-deploy", Hook('printf %s "$TIDEGATE_APP" > app.txt'), report, PATH, tmp_path)
    assert (tmp_path / "app.txt").read_text() == "ab"
