"""The journal keeps what happened and never costs a deploy anything."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deploy.events import Noticed, RunStarted
from deploy.readers import journal
from deploy.readers.journal import Journal
from tests.deploy.eventful import EPOCH_S, Entry, Story


def no_warning(message: str) -> None:
    raise AssertionError(message)


def _write(
    directory: Path, entries: list[Entry], warn: Callable[[str], None] = no_warning
) -> Journal:
    with Journal(directory, warn) as writer:
        for at, event in entries:
            writer(at, event)
    return writer


def _started(app: str = "hello", run: str = "r1", deploy: str = "d1") -> RunStarted:
    return RunStarted(
        command="deploy", app=app, deploy_id=deploy, run_id=run, image="i", strategy="rolling"
    )


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_run_reads_back_as_it_was_told(tmp_path: Path) -> None:
    told = [(round(at, 3), event) for at, event in Story().tell()]
    written = _write(tmp_path / "deploys", told)
    assert written.path == tmp_path / "deploys" / "hello" / "01jdeadbee.jsonl"
    assert journal.read(written.path) == told


def test_each_event_is_on_disk_when_the_call_returns(tmp_path: Path) -> None:
    writer = Journal(tmp_path / "deploys", no_warning)
    writer(EPOCH_S, _started())
    writer(EPOCH_S + 1, Noticed(message="m"))
    assert writer.path is not None
    assert len(journal.read(writer.path)) == 2
    writer.close()


def test_what_is_noticed_before_the_start_is_kept(tmp_path: Path) -> None:
    written = _write(tmp_path, [(EPOCH_S, Noticed(message="early")), (EPOCH_S, _started())])
    assert written.path is not None
    assert journal.read(written.path)[0][1] == Noticed(message="early")
    assert journal.find(tmp_path, "r1") is not None


def test_only_the_user_can_read_a_journal(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        written = _write(tmp_path / "state" / "tidegate" / "deploys", [(EPOCH_S, _started())])
    finally:
        os.umask(before)
    assert written.path is not None
    assert _mode(written.path) == 0o600
    private = (written.path.parent, *written.path.parent.parents[:2])
    assert [_mode(folder) for folder in private] == [0o700] * 3


def test_a_full_disk_is_one_warning(tmp_path: Path) -> None:
    full = tmp_path / "hello" / "r1.jsonl"
    full.parent.mkdir()
    full.symlink_to("/dev/full")
    warnings: list[str] = []
    _write(tmp_path, [(EPOCH_S, _started())] * 3, warnings.append)
    (warning,) = warnings
    assert "No space left on device" in warning
    assert "the deploy goes on" in warning


def test_a_directory_that_cannot_be_made_is_one_warning(tmp_path: Path) -> None:
    (tmp_path / "deploys").write_text("a file where a directory should be")
    warnings: list[str] = []
    _write(tmp_path / "deploys", Story().tell(), warnings.append)
    assert len(warnings) == 1


def test_a_torn_last_line_is_passed_over(tmp_path: Path) -> None:
    written = _write(tmp_path, [(EPOCH_S, _started()), (EPOCH_S, Noticed(message="m"))])
    assert written.path is not None
    whole = written.path.read_bytes()
    written.path.write_bytes(whole + whole.splitlines()[0][:40])
    assert len(journal.read(written.path)) == 2


@given(st.binary(max_size=200))
@example(b'{"at":1,"event":"noticed","message":"m"}')
@example(b"[" * 100_000)
@example(b'{"at":1e999,"event":"noticed","message":"\\ud800"}\n\xff\xfe')
def test_no_file_breaks_the_reading(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("j") / "x.jsonl"
    path.write_bytes(data)
    journal.read(path)
    assert journal.runs(path.parent.parent, path.parent.name) == []


def test_the_oldest_runs_of_an_app_are_removed(tmp_path: Path) -> None:
    for number in range(journal.RUNS_KEPT + 3):
        written = _write(tmp_path, [(EPOCH_S + number, _started(run=f"r{number}"))])
        assert written.path is not None
        os.utime(written.path, (number, number))
    _write(tmp_path, [(EPOCH_S + 999, _started(run="newest"))])
    kept = [each.started.run_id for each in journal.runs(tmp_path, "hello")]
    assert len(kept) == journal.RUNS_KEPT
    assert kept[0] == "newest"
    assert {"r0", "r1", "r2", "r3"}.isdisjoint(kept)


def test_a_run_is_found_by_its_id_its_deploys_id_and_how_either_begins(tmp_path: Path) -> None:
    for at, run, deploy in ((1, "run-a", "dep-1"), (2, "run-b", "dep-1"), (3, "run-c", "dep-2")):
        _write(tmp_path, [(float(at), _started(run=run, deploy=deploy))])
    _write(tmp_path, [(4.0, _started(app="other", run="run-d", deploy="dep-3"))])

    def found(identity: str | None, app: str | None = None) -> str | None:
        kept = journal.find(tmp_path, identity, app)
        return kept.started.run_id if kept else None

    assert found("run-a") == "run-a"
    assert found("dep-1") == "run-b"
    assert found("dep-") == "run-d"
    assert found("dep-", "hello") == "run-c"
    assert found(None) == "run-d"
    assert found(None, "hello") == "run-c"
    assert found("nothing") is None
    assert found(None, "nobody") is None


@given(st.text(max_size=300), st.text(max_size=300))
@example("a/b", "a_b")
@example("..", ".")
@example("", "unnamed")
@example("\ud800", "\udfff")
def test_names_become_file_names_that_stay_inside_and_apart(one: str, other: str) -> None:
    for name in (one, other):
        safe = journal.safe_name(name)
        assert safe == Path(safe).name
        assert safe.isascii()
        assert not safe.startswith(".")
        assert len(safe) < 120
    assert one == other or journal.safe_name(one) != journal.safe_name(other)


def test_the_directory_is_in_the_users_state(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert journal.default_directory() == tmp_path / "tidegate" / "deploys"
