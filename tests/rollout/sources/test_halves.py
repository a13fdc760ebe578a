"""Two processes find what one finds, to the byte."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rollout.outcomes.observed import Observer, observe
from rollout.outcomes.question import Question
from rollout.outcomes.record import Record
from rollout.sources import halves
from rollout.sources.reports import Reports
from tests.rollout.outcomes.making import DAY, FLAG, START, asked, lines, made, write


@pytest.fixture(autouse=True)
def _always_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(halves, "LARGE", 1)
    monkeypatch.setattr("os.cpu_count", lambda: 2)


def told(seed: int, by: str) -> list[bytes]:
    """Lines of all sorts, of deploys that come again and runs that have several records."""
    rng = random.Random(seed)
    found: list[bytes] = []
    for number in range(200):
        one = made(
            rng.choice([number, rng.randrange(200)]), f"app-{rng.randrange(9)}",
            rng.choice([25.0, 25, 50.0, None]), rng.choice(["done", "done", "failed", None]), by=by,
            at=START + rng.randrange(9) * DAY, duration_s=rng.choice([1.5, 90]),
            cause=rng.choice([None, "app", "odd"]), retries_used=rng.randrange(2),
        )  # fmt: skip
        one |= rng.choice([{}, {"run_id": f"run-{rng.randrange(2)}"}, {"command": "resume"}])
        if rng.random() < 0.1:
            decision = {"flag": FLAG, "unit": one["app"], "percent": 50, "reason": "SPLIT"}
            one |= {"v": 1, "decision": decision}
        odd = rng.choice([b"{\n", b"\n", b'{"event": "x"}\n', b"{}\n"])
        found.append(lines([one]) if number == 0 or rng.random() < 0.9 else odd)
    return found


def found_by(many: bool, question: Question, *places: str) -> tuple[Any, ...]:
    reports = Reports(places, Record)
    assert halves._halves(reports) is not None
    found = halves.observed(reports, question) if many else observe(reports, question)
    units = list(found.units.items())
    sums = found.failures, found.cells, units, +found.left, found.first_version
    return *sums, reports.broken, reports.broken_count


@pytest.mark.parametrize("by", ["app", "deploy"])
@pytest.mark.parametrize("seed", range(4))
def test_two_processes_find_what_one_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, by: str
) -> None:
    monkeypatch.chdir(tmp_path)
    whole = told(seed, by)
    Path("one.jsonl").write_bytes(b"".join(whole))
    Path("many").mkdir()
    Path("many/a.jsonl").write_bytes(b"".join(whole[:20]))
    Path("many/b.json").write_text(json.dumps(made(3, by=by), indent=2))
    Path("many/c.jsonl").write_bytes(b"".join(whole[20:])[:-20])
    Path("many/d.jsonl").write_bytes(b"")
    Path("small").mkdir()
    for number, line in enumerate(whole):
        Path(f"small/{number:03}.json").write_bytes(line)
    question = asked(by, now=START + 8 * DAY)
    known = question._replace(since=START + 4 * DAY, known=frozenset({"d00000001", "d00000007"}))
    for places in (["one.jsonl"], ["many"], ["small"], ["many", "one.jsonl", "small"]):
        for what in (question, known):
            assert found_by(True, what, *places) == found_by(False, what, *places)


def test_the_second_half_is_read_by_the_fork_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    taken: list[list[str]] = []
    take = Observer.take

    def noting(observer: Observer, records: Iterable[Record]) -> Observer:
        taken.append([record.deploy for record in records])
        return take(observer, records)

    monkeypatch.setattr(Observer, "take", noting)
    path = write(tmp_path / "a.jsonl", map(made, range(90)))
    halves.observed(Reports([str(path)], Record), asked())
    assert len(taken) == 1
    assert 40 < len(taken[0]) < 60
    assert capfd.readouterr().err == ""


def test_the_second_half_begins_behind_a_long_line(tmp_path: Path) -> None:
    long = made(2, message="x" * 1_000_000)
    path = write(tmp_path / "a.jsonl", [made(1), long, *map(made, range(3, 90))])
    assert found_by(True, asked(), str(path)) == found_by(False, asked(), str(path))


def test_one_object_over_many_lines_is_not_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(made(1), indent=2))
    assert found_by(True, asked(), str(path)) == found_by(False, asked(), str(path))


def test_what_the_fork_cannot_take_is_read_here_and_raises_as_ever(tmp_path: Path) -> None:
    odd = made(90, v=1, assigned=None, decision=[])
    path = write(tmp_path / "a.jsonl", [*map(made, range(90)), odd])
    with pytest.raises(msgspec.ValidationError):
        found_by(True, asked(), str(path))


def test_little_and_what_is_no_regular_file_is_read_by_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.jsonl", [made(1)])
    link = tmp_path / "b.jsonl"
    link.symlink_to(path)
    assert halves._halves(Reports([str(path), str(link)], Record)) is None
    assert halves._halves(Reports(["-", str(path)], Record)) is None
    assert halves._halves(Reports([], Record)) is None
    monkeypatch.setattr(halves, "LARGE", 1 << 20)
    assert halves._halves(Reports([str(path)], Record)) is None
