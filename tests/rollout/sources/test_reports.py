from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from rollout.errors import SourceProblem
from rollout.outcomes.record import Record
from rollout.sources import reports as module
from rollout.sources.reports import Reports as OfKind
from tests.rollout.outcomes.making import lines, made, write


def reports_of(places: list[str]) -> OfKind[Record]:
    return OfKind(places, Record)


def ids(reports: OfKind[Record]) -> list[str]:
    return [record.deploy for record in reports]


def test_files_directories_and_patterns_are_read_each_file_once(tmp_path: Path) -> None:
    (tmp_path / "hello").mkdir()
    write(tmp_path / "hello" / "a.json", [made(1)])
    write(tmp_path / "b.jsonl", [made(2), made(3)])
    write(tmp_path / ".hidden.json", [made(4)])
    (tmp_path / "notes.txt").write_text("no report")
    places = [str(tmp_path), f"{tmp_path}/**/*.json", str(tmp_path / "b.jsonl")]
    assert sorted(ids(reports_of(places))) == ["d00000001", "d00000002", "d00000003"]


def test_reports_can_be_gone_through_twice(tmp_path: Path) -> None:
    reports = reports_of([str(write(tmp_path / "a.json", [made(1)]))])
    assert ids(reports) == ids(reports) == ["d00000001"]


def test_one_object_may_go_over_many_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(made(1), indent=2))
    assert ids(reports_of([str(path)])) == ["d00000001"]


def test_other_events_of_a_run_are_passed_over(tmp_path: Path) -> None:
    events = [{"v": 1, "at": 1.5, "event": "run_started", "app": "hello"}, made(1)]
    reports = reports_of([str(write(tmp_path / "a.jsonl", events))])
    assert ids(reports) == ["d00000001"]
    assert reports.broken_count == 0


@pytest.mark.parametrize(
    ("data", "trouble"),
    [
        (b"", "a.jsonl: it is empty"),
        (b"\n \n", "a.jsonl: it is empty"),
        (lines([made(1)])[:-40], "a.jsonl:1: it is cut off, or not JSON"),
        (b"\xfe\n", "a.jsonl:1: it is not JSON: JSON is malformed: invalid character (byte 0)"),
        (b"\xff\xfe{\0", "a.jsonl: it begins with a byte order mark: write it as UTF-8 without"),
        (b"\xef\xbb\xbf" + lines([made(1)]), "a.jsonl: it begins with a byte order mark: write it"),
        (gzip.compress(lines([made(1)])), "a.jsonl: it is compressed: unpack it first"),
        (b'{"event": "report", "at": "soon"}\n',
         "a.jsonl:1: it is not a report: Expected `float`, got `str` - at `$.at`"),
        (b'{"hello": "world"}\n', "a.jsonl:1: it is not a report"),
        (b"[1, 2]\n", "a.jsonl:1: it is not a report: Expected `object`, got `array`"),
        (lines([made(1, duration_s=1e308)]),
         "a.jsonl:1: it is not a report: Expected `float` <= 1000000000.0 - at `$.duration_s`"),
        (lines([made(1, duration_s=-1.0)]), "a.jsonl:1: it is not a report: Expected `float` >= 0"),
        (b'{"x":' + b"[" * 100_000 + b"\n", "a.jsonl:1: it is nested too deep"),
        (b"x" * 1_000_000 + b"\n", "a.jsonl:1: it is not JSON: JSON is malformed: "),
        (b'{"event": "report", "app": "\xff"}\n', "a.jsonl:1: it is not UTF-8"),
        (json.dumps(made(1) | {"app": "\ud800"}).encode() + b"\n",
         "a.jsonl:1: it is not JSON: JSON is malformed: "),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named_and_the_rest_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, trouble: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.jsonl").write_bytes(data)
    write(Path("b.jsonl"), [made(2)])
    reports = reports_of(["."])
    assert ids(reports) == ["d00000002"]
    assert reports.broken_count == 1
    assert reports.broken[0].removeprefix("./").startswith(trouble)


def test_a_broken_line_between_good_ones_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines([made(1)]) + b"{\n" + lines([made(2)]))
    reports = reports_of([str(path)])
    assert ids(reports) == ["d00000001", "d00000002"]
    assert reports.broken_count == 1


def test_a_line_of_a_megabyte_is_read_and_one_of_more_than_16_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.jsonl", [made(1, message="x" * 1_000_000), made(2)])
    assert ids(reports_of([str(path)])) == ["d00000001", "d00000002"]
    monkeypatch.setattr(module, "LONGEST", 1 << 19)  # as if it were 32 times as long
    reports = reports_of([str(path)])
    assert ids(reports) == ["d00000002"]
    assert reports.broken_count >= 1


def test_many_broken_places_are_counted_and_the_first_20_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"{}\n" * 50)
    reports = reports_of([str(path)])
    assert ids(reports) == []
    assert (len(reports.broken), reports.broken_count) == (20, 50)


def test_a_path_that_is_not_there_is_an_error_and_a_pattern_without_files_is_told(
    tmp_path: Path,
) -> None:
    with pytest.raises(SourceProblem, match=r"^there are no reports at "):
        reports_of([str(tmp_path / "none")])
    pattern = f"{tmp_path}/*.json"
    assert reports_of([pattern, str(tmp_path)]).empty == [pattern, str(tmp_path)]
