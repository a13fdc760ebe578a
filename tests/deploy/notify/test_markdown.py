from __future__ import annotations

import re

import pytest
from hypothesis import given

from deploy.events import Result, RunFinished, RunStarted
from deploy.notify.markdown import MOST_ROWS, render_markdown
from deploy.readers.timeline import Timeline
from tests.deploy.eventful import EPOCH_S, Entry, Story, any_run

HOSTILE = "# <img src=x onerror=alert(1)> **bold** | `code` [a](http://b) @team ~~x~~\n| a |"


def test_a_failed_run_has_its_end_what_to_do_its_machines_and_its_timeline() -> None:
    text = render_markdown(Timeline.of(Story(broken=1).tell()))
    assert text.startswith("## ↩️ deploy hello\n\nfailed: ")
    assert "\nNext: " in text
    assert "### Machines" in text
    assert re.search(r"\| web-1 \| 148e0000000000 \| web \|", text)
    assert re.search(r"\| \+\d+\.\d s \| web-1 \| failed: check http: 500 .*\| \d+\.\d s \|", text)
    assert "pass 1, going back" in text


def test_a_run_that_is_done_has_no_next_step() -> None:
    text = render_markdown(Timeline.of(Story(hiccups=0).tell()))
    assert text.startswith("## ✅ deploy hello\n\ndone: ")
    assert "Next:" not in text


def test_every_row_of_a_table_has_the_cells_of_its_heading() -> None:
    text = render_markdown(Timeline.of(Story(broken=1, machines=9).tell()))
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({row.count("|") for row in table.splitlines()}) == 1


def test_a_large_fleet_stays_within_what_a_summary_may_have() -> None:
    text = render_markdown(Timeline.of(Story(machines=1000, hiccups=0.5).tell()))
    assert len(text.encode()) < 1024 * 1024
    assert f"and {1000 - MOST_ROWS} rows more" in text


def test_text_of_an_app_is_inert() -> None:
    started = RunStarted(
        command="deploy", app="a", deploy_id="d", run_id="r", image=HOSTILE, strategy="rolling"
    )
    finished = RunFinished(result=Result.FAILED, exit_code=1, message=HOSTILE, log=(HOSTILE,))
    text = render_markdown(Timeline.of([(EPOCH_S, started), (EPOCH_S, finished)]))
    for line in text.splitlines():
        if "onerror" in line and not line.startswith("    "):  # an indented block is code
            assert not re.search(r"[<>`*\[\]@~]|[^|] \| a", line)


@given(any_run)
def test_any_run_can_be_shown(entries: list[Entry]) -> None:
    assert render_markdown(Timeline.of(entries)).endswith("\n")


@pytest.mark.parametrize("exit_code", [0, 1, 3, 130])
def test_each_end_has_a_sign(exit_code: int) -> None:
    finished = RunFinished(result=Result.DONE, exit_code=exit_code, message="")
    assert render_markdown(Timeline.of([(EPOCH_S, finished)]))[3] in "✅↩❌"
