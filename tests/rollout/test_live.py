"""Flags that follow their source."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from rollout import BadFlagFile, SourceProblem
from rollout.live import Live
from tests.rollout.servers import response, saying, serving

TEXT = """\
version: 1
flags:
  a: {bucket_by: app, percent: 5, inside: 5, outside: 0}
  b: {bucket_by: app, percent: 5, inside: 5, outside: 0}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "flags.yaml"
    path.write_text(TEXT)
    return path


def test_it_tells_which_flags_were_changed_added_and_removed(path: Path) -> None:
    live = Live(path)
    assert live.refresh().changed == []
    path.write_text(TEXT.replace("percent: 5", "percent: 6", 1).replace("  b:", "  c:"))
    assert live.refresh().changed == []
    assert sorted(live.refresh().changed) == ["a", "b", "c"]
    assert live.state.flags["a"].rollout == 6000
    assert live.refresh().changed == []
    path.write_text(path.read_text() + "# a comment changes no flag\n")
    assert live.refresh().changed == []


def test_a_flag_vanishes_only_once_it_has_been_missing_in_two_equal_looks(path: Path) -> None:
    live = Live(path)
    whole = path.read_text()
    half = whole[: whole.index("  b:")]
    other = half + "  c: {bucket_by: app, percent: 1, inside: 1, outside: 0}"
    for text in (half, whole, half, other):
        path.write_text(text)
        assert live.refresh().changed == []
        assert list(live.state.flags) == ["a", "b"]
    assert live.refresh().changed == ["b", "c"]
    path.write_text(whole.replace("percent: 5", "percent: 6"))
    live.refresh()
    assert sorted(live.refresh().changed) == ["a", "b", "c"]


def test_news_say_once_what_broke_and_that_it_was_mended(path: Path) -> None:
    live = Live(path)
    path.write_text("version: 2")
    assert live.refresh().broke
    assert not live.refresh().broke
    path.write_text(TEXT)
    assert live.refresh().mended
    assert not live.refresh().mended


def test_a_source_that_breaks_leaves_the_flags_and_says_what_is_wrong(path: Path) -> None:
    live = Live(path)
    flags = live.state.flags
    path.write_text(TEXT.replace("percent: 5", "percent: 5%"))
    for _ in range(2):
        assert live.refresh().changed == []
        assert live.state.flags is flags
        assert live.state.problem.startswith(f"{path}:3:")
    path.unlink()
    live.refresh()
    assert live.state.problem.endswith(" does not exist")
    path.write_text(TEXT)
    assert live.refresh().changed == []
    assert (live.state.flags, live.state.problem) == (flags, "")


def test_a_source_that_is_broken_at_first_is_an_error(path: Path) -> None:
    path.write_text("")
    with pytest.raises(BadFlagFile):
        Live(path)
    with pytest.raises(SourceProblem):
        Live(path.parent)


def test_an_address_is_asked_less_often_than_a_file(path: Path) -> None:
    live = Live(path)
    assert live.poll_s == 1
    live.spec = "https://flags.example/flags.yaml"
    assert live.poll_s == 30


def test_who_evaluates_while_it_changes_sees_one_file_or_the_other(path: Path) -> None:
    live = Live(path)
    texts = [TEXT.replace("percent: 5", f"percent: {percent}") for percent in (5, 6)]
    over = threading.Event()
    seen: list[tuple[object, object]] = []

    def ask() -> None:
        while not over.is_set():
            flags = live.state.flags
            seen.append((flags["a"].rollout, flags["b"].rollout))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for turn in range(40):
        path.write_text(texts[turn % 2])
        live.refresh()
    over.set()
    for thread in threads:
        thread.join()
    assert set(seen) == {(5000, 5000), (6000, 6000)}


def test_an_address_that_breaks_is_told_while_its_last_good_copy_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with serving(saying(response(TEXT.encode()))) as server:
        live = Live(server.url)
        flags = live.state.flags
        assert live.state.problem == ""
        server.behave = saying(response(b"", "404 Not Found"))
        assert live.refresh().changed == []
        assert live.state.flags is flags
        assert live.state.problem == f"{server.url}: it answers 404 Not Found"
        assert Live(server.url).state.problem == live.state.problem
        server.behave = saying(response(TEXT.encode()))
        assert live.refresh().changed == []
        assert (live.state.flags, live.state.problem) == (flags, "")
