"""Since when a flag is at 100 %, and where the code names it, as git knows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from rollout.file import flagfile
from rollout.sources import history
from tests.rollout.repo import Repo

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TEXT = """\
version: 1
flags:
  a: {bucket_by: app, inside: 1, outside: 0, percent: 100}
"""
RAMPED = TEXT.replace("percent: 100", "ramp: [{at: 2026-10-20T00:00Z, percent: 100}]")


def days_ago(number: float) -> datetime:
    return NOW - timedelta(days=number)


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Repo:
    made = Repo(tmp_path / "repo")
    monkeypatch.chdir(made.root)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    return made


def finished(text: str = TEXT, now: datetime = NOW) -> bool:
    return "a" in history.standing("flags.yaml", flagfile.parse(text).flags, now, 30).complete


def test_a_percentage_that_stood_for_over_30_days_is_finished(repo: Repo) -> None:
    repo.commit({"flags.yaml": TEXT}, at=days_ago(40))
    assert finished()
    repo.commit({"flags.yaml": TEXT + "# note\n", "x": ""}, at=days_ago(3))
    assert finished()
    assert not finished(TEXT.replace("100", "99"))
    assert not finished(TEXT.replace("percent", "enabled: false, percent"))


@pytest.mark.parametrize("between", ["percent: 99", "enabled: false, percent: 100"])
def test_one_that_was_lower_meanwhile_is_not(repo: Repo, between: str) -> None:
    repo.commit({"flags.yaml": TEXT}, at=days_ago(40))
    repo.commit({"flags.yaml": TEXT.replace("percent: 100", between)}, at=days_ago(20))
    assert not finished()
    repo.commit({"flags.yaml": TEXT}, at=days_ago(10))
    assert not finished()


def test_one_that_is_younger_is_not(repo: Repo) -> None:
    repo.commit({"flags.yaml": TEXT}, at=days_ago(29))
    assert not finished()
    assert finished(now=NOW + timedelta(days=2))


def test_a_version_that_was_broken_says_nothing(repo: Repo) -> None:
    repo.commit({"flags.yaml": TEXT}, at=days_ago(40))
    repo.commit({"flags.yaml": "broken: ["}, at=days_ago(20))
    repo.commit({"flags.yaml": TEXT}, at=days_ago(19))
    assert not finished()


def test_a_ramp_says_it_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert finished(RAMPED)
    assert not finished(RAMPED, now=NOW - timedelta(days=10))
    assert not finished(), "without a repository a percentage is not known to be finished"


def test_a_ramp_that_ended_as_a_percentage_counts_from_its_last_step(repo: Repo) -> None:
    repo.commit({"flags.yaml": RAMPED}, at=days_ago(60))
    repo.commit({"flags.yaml": TEXT}, at=days_ago(1))
    assert finished()


def test_a_ramp_that_ended_lately_is_not_finished(repo: Repo) -> None:
    late = RAMPED.replace("2026-10-20", "2026-11-10")
    repo.commit({"flags.yaml": late}, at=days_ago(60))
    assert not finished(late)
    repo.commit({"flags.yaml": TEXT}, at=days_ago(1))
    assert not finished()


def test_more_versions_than_are_looked_at_say_nothing(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.commit({"flags.yaml": TEXT}, at=days_ago(40))
    monkeypatch.setattr(history, "MOST_VERSIONS", 2)
    for number in range(2):
        repo.commit({"flags.yaml": TEXT + f"# {number}\n"}, at=days_ago(9 - number))
    assert finished()
    repo.commit({"flags.yaml": TEXT + "# more\n"}, at=days_ago(1))
    assert not finished()


def test_the_places_are_the_lines_that_name_the_flag(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.commit(
        {
            "flags.yaml": TEXT,
            "src/one.py": 'x\nif flags["a"]: pass\nabc\n',
            "src/two.py": "a.b = 1\n",
            "many.txt": "a\n" * 20,
            "binary": "a\0a",
        }
    )
    (found,) = history.places("flags.yaml", ["a"]).values()
    assert found[:20] == tuple(f"many.txt:{line}" for line in range(1, 21))
    (repo.root / "many.txt").unlink()
    assert history.places("flags.yaml", ["a"]) == {"a": ("src/one.py:2", "src/two.py:1")}
    monkeypatch.chdir(repo.root / "src")
    assert history.places("../flags.yaml", ["a"]) == {"a": ("src/one.py:2", "src/two.py:1")}


def test_without_a_repository_there_are_no_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert history.places("flags.yaml", ["a"]) == {}


def idle(text: str, now: datetime = NOW) -> bool:
    return "a" in history.standing("flags.yaml", flagfile.parse(text).flags, now, 30).idle


def test_a_flag_that_nobody_is_inside_of_for_over_30_days_is_idle(repo: Repo) -> None:
    nobody = TEXT.replace("percent: 100", "percent: 0")
    repo.commit({"flags.yaml": nobody}, at=days_ago(40))
    assert idle(nobody)
    assert not idle(nobody, days_ago(11)), "it was not there 30 days before"
    listed = nobody.replace("percent: 0", "percent: 0, always_inside: {org: [acme]}")
    assert not idle(listed)
    coming = TEXT.replace("percent: 100", "ramp: [{at: 2027-01-01T00:00Z, percent: 100}]")
    assert not idle(coming)
    repo.commit({"flags.yaml": TEXT.replace("percent: 100", "percent: 5")}, at=days_ago(20))
    assert not idle(nobody)
