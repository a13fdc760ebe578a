"""The record of a run: whole at every moment, and never the reason for anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.events import FlagDecision, PathChosen, RunFinished, RunStarted
from deploy.readers.record import Record
from tests.deploy.eventful import EPOCH_S, Entry, Story

STARTED = RunStarted(
    command="deploy", app="hello", deploy_id="d1", run_id="r1", image="i", strategy="rolling"
)
ASSIGNED = FlagDecision(
    source="flags.yaml", flag="deploy-retries", unit="hello", bucket=6343, percent=10.0,
    variant="inside", reason="SPLIT", value=5,
)  # fmt: skip


def told(directory: Path, run: list[Entry]) -> list[str]:
    warnings: list[str] = []
    record = Record(directory, warnings.append)
    for at, event in run:
        record(at, event)
    return warnings


def read(directory: Path) -> dict[str, Any]:
    [path] = directory.rglob("*.json")
    data: dict[str, Any] = json.loads(path.read_text())
    return data


def test_the_start_is_on_record_before_anything_is_called(tmp_path: Path) -> None:
    assert told(tmp_path, [(EPOCH_S, STARTED)]) == []
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")] == [
        "hello/d1-r1.json"
    ]
    start = read(tmp_path)
    assert (start["v"], start["deploy"], start["run_id"], start["result"]) == (2, "d1", "r1", None)


def test_the_path_is_on_record_with_what_the_flag_says_of_a_number_given_by_hand(
    tmp_path: Path,
) -> None:
    chosen = PathChosen(path="legacy", retries=0, sentence="asked for", assigned=ASSIGNED)
    told(tmp_path, [(EPOCH_S, STARTED), (EPOCH_S + 1, chosen)])
    record = read(tmp_path)
    assert record["decision"]["source"] == "option"
    assert (record["assigned"]["bucket"], record["assigned"]["variant"]) == (6343, "inside")


def test_the_end_replaces_the_start_and_the_timeline_stands_beside_it(tmp_path: Path) -> None:
    run = Story(machines=3).tell()
    assert told(tmp_path, run) == []
    record = read(tmp_path)
    assert record["result"] == "done"
    [page] = tmp_path.rglob("*.html")
    assert page.with_suffix(".json").is_file()
    assert "Timeline" in page.read_text()


def test_a_run_that_is_killed_leaves_its_start(tmp_path: Path) -> None:
    run = [entry for entry in Story().tell() if not isinstance(entry[1], RunFinished)]
    told(tmp_path, run)
    assert read(tmp_path)["result"] is None


@pytest.mark.parametrize("name", ["../../etc", "a/b", "..", "x" * 300, "ü\n"])
def test_no_app_leads_out_of_the_directory(tmp_path: Path, name: str) -> None:
    from dataclasses import replace

    inner = tmp_path / "records"
    told(inner, [(EPOCH_S, replace(STARTED, app=name))])
    [path] = tmp_path.rglob("*.json")
    assert path.parent.parent == inner


def test_a_directory_that_cannot_be_written_is_one_warning(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    [warning] = told(blocked, Story().tell())
    assert "cannot be written" in warning
    assert "the deploy goes on" in warning
