"""The report is the record of the experiment, and the closing words for people."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given

from deploy.events import (
    GoingBack,
    MachineStands,
    PathChosen,
    Result,
    RunFinished,
    RunStarted,
    to_line,
)
from deploy.readers.report import Report, machine_table, render_text
from tests.deploy.eventful import EPOCH_S, NEW, OLD, Entry, Story, any_run

MIXED = Story(retries=1, hiccups=0.6, machines=12)


def _stands(name: str, image: str = NEW, runs: str = "new", **other: object) -> MachineStands:
    machine = MachineStands(
        machine_id=f"148e{name}",
        name=name,
        group="web",
        region="ams",
        version="01JDVZ6Q1MW3R8X9Y2Z4A5B6C7",
        image=image,
        state="started",
        cordoned=False,
        checks="",
        runs=runs,
    )
    return dataclasses.replace(machine, **other)  # type: ignore[arg-type]  # fields by name


def _finished(result: Result, exit_code: int, **other: object) -> Report:
    event = RunFinished(result=result, exit_code=exit_code, message="as told")
    ended = dataclasses.replace(event, **other)  # type: ignore[arg-type]  # fields by name
    started = RunStarted(
        command="deploy", app="hello", deploy_id="d1", run_id="r1", image=NEW, strategy="rolling"
    )
    return Report.of([(EPOCH_S, started), (EPOCH_S + 12.34, ended)])


def test_a_mended_run_is_recorded_with_its_decision_and_what_the_retries_were_for() -> None:
    report = Report.of(Story(machines=5, seed=5).tell())
    assert report.decision is not None
    assert (report.decision.bucket, report.decision.percent) == (6343, 10.0)
    assert report.decision.reason == "SPLIT"
    assert report.decision.sentence.endswith("retrying path")
    assert (report.path, report.retries_allowed) == ("retrying", 5)
    assert report.passes_used == 2
    assert report.retries_used == 1
    assert report.hiccups_met > 0
    assert report.hiccups_mended == report.hiccups_met
    assert (report.result, report.exit_code) == (Result.DONE, 0)
    assert {machine.runs for machine in report.machines} == {"new"}
    assert set(report.machine_durations_s) == {machine.machine_id for machine in report.machines}
    assert report.started == "2026-11-18T11:06:40.000Z"
    assert report.finished is not None
    assert report.duration_s > max(report.machine_durations_s.values()) > 0


def test_hiccups_of_a_run_that_ends_in_between_are_not_mended() -> None:
    report = Report.of(MIXED.tell())
    assert report.result is Result.IN_BETWEEN
    assert report.hiccups_met > 0
    assert report.hiccups_mended == 0


def test_passes_of_going_back_are_no_retries() -> None:
    report = Report.of(Story(broken=1, hiccups=0).tell())
    assert (report.passes_used, report.retries_used, report.passes_back) == (1, 0, 1)


def test_a_number_that_was_given_is_recorded_as_an_option() -> None:
    chosen = PathChosen(path="legacy", retries=0, sentence="deploy-retries: 0: legacy path")
    decision = Report.of([(EPOCH_S, chosen)]).decision
    assert decision is not None
    assert (decision.source, decision.bucket) == ("option", None)


def test_a_run_that_was_killed_has_a_report_without_an_end() -> None:
    story = [entry for entry in Story().tell() if not isinstance(entry[1], RunFinished)]
    report = Report.of(story)
    assert (report.result, report.exit_code, report.finished) == (None, 3, None)
    text = render_text(report)
    assert text.startswith("unfinished: hello has no end on record")
    assert text.endswith(
        "next: `deploy status --app hello` shows what runs, and the ways out of what is unfinished"
    )


@given(any_run)
def test_any_run_has_a_report_that_is_json_and_a_text_that_is_safe_to_print(
    run: list[Entry],
) -> None:
    report = Report.of(run)
    data = json.loads(to_line(report.to_json()))
    assert (data["v"], data["event"]) == (2, "report")
    assert {*data} == {"v", "event", *(field.name for field in dataclasses.fields(Report))}
    assert all(line.isprintable() for line in render_text(report).split("\n"))


def test_a_run_that_is_done_takes_two_lines() -> None:
    machines = (_stands("web-1"), _stands("web-2"))
    text = render_text(_finished(Result.DONE, 0, machines=machines))
    assert text.split("\n") == [
        "done: as told (2 machines, 12.3 s)",
        "next: `deploy status --app hello` shows the machines",
    ]


def test_a_run_that_is_done_lists_no_machines_even_where_they_differ() -> None:
    machines = (_stands("web-1"), _stands("web-2", OLD, "old"))
    assert "MACHINE" not in render_text(_finished(Result.DONE, 0, machines=machines))
    assert "MACHINE" in render_text(_finished(Result.FAILED, 1, machines=machines))


def test_an_app_in_between_is_told_machine_by_machine() -> None:
    machines = (
        _stands("web-10"),
        _stands("web-2", OLD, "old", cordoned=True, checks="0/1"),
        _stands("web-1", runs="mixed", detail="half of it"),
    )
    hint = "`deploy resume` finishes it"
    text = render_text(_finished(Result.IN_BETWEEN, 3, machines=machines, hint=hint))
    assert (
        text
        == """\
in between: as told (3 machines, 12.3 s)

  MACHINE  ID          GROUP  VERSION     IMAGE     STATE                          RUNS   DETAIL
  web-1    148eweb-1   web    ..Z4A5B6C7  hello:v2  started                        mixed  half of it
  web-2    148eweb-2   web    ..Z4A5B6C7  hello:v1  started, cordoned, checks 0/1  old
  web-10   148eweb-10  web    ..Z4A5B6C7  hello:v2  started                        new

next: `deploy resume` finishes it"""
    )


def test_every_machine_of_an_app_in_between_is_named() -> None:
    text = render_text(Report.of(MIXED.tell()))
    assert all(f" web-{i + 1} " in text for i in range(12))


def test_images_that_look_alike_when_short_are_shown_whole() -> None:
    rows = machine_table([_stands("a", "one.io/hello:v1"), _stands("b", "two.io/hello:v1")])
    assert "one.io/hello:v1" in rows[1]
    assert "two.io/hello:v1" in rows[2]


def test_leftovers_are_named_though_the_run_is_done() -> None:
    left = ("148e9 (deploy status)",)
    assert "left over: 148e9 (deploy status)" in render_text(
        _finished(Result.DONE, 0, leftovers=left)
    )


@pytest.mark.parametrize("result", Result)
def test_every_result_names_the_next_step(result: Result) -> None:
    assert "\nnext: " in render_text(_finished(result, 0))


def test_going_back_alone_is_no_end() -> None:
    assert Report.of([(EPOCH_S, GoingBack(reason="x"))]).result is None
