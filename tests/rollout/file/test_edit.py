"""A bump changes one number in the text and nothing else."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout.errors import EditRefused, UnknownFlag
from rollout.file import edit, flagfile
from rollout.file.edit import Edit
from rollout.file.flagfile import FlagFile
from rollout.file.splice import Span
from rollout.flag import Ramp, Step, percent_text
from tests.rollout.strategies import NOW, flag_texts, thresholds

TEXT = """\
version: 1
flags:
  a: {bucket_by: app, percent: 5.0, inside: 1, outside: 0} # percent: 5.0
"""


@given(flag_texts(), thresholds, st.data())
def test_a_bump_changes_one_line_and_comes_back(
    drawn: tuple[str, dict[str, int]], threshold: int, data: st.DataObject
) -> None:
    text, expected = drawn
    key = data.draw(st.sampled_from(sorted(expected)))
    before = flagfile.parse(text)
    made = edit.set_percent(before, key, threshold)
    if threshold == expected[key]:
        assert made is None
        return
    assert made is not None
    after = made.file.text
    assert {k: flag.rollout for k, flag in made.file.flags.items()} == expected | {key: threshold}
    old, new = text.splitlines(keepends=True), after.splitlines(keepends=True)
    changed = [number for number, (a, b) in enumerate(zip(old, new, strict=True), 1) if a != b]
    (hunk,) = made.hunks
    assert changed == [hunk.line]
    assert hunk.before == (old[hunk.line - 1].rstrip("\r\n"),)
    was, is_now = percent_text(expected[key]), percent_text(threshold)
    assert hunk.after == (hunk.before[0].replace(f"percent: {was}", f"percent: {is_now}", 1),)
    back = edit.set_percent(made.file, key, expected[key])
    assert back is not None
    assert back.file.text == text


def test_an_equal_percentage_written_otherwise_is_no_change() -> None:
    assert edit.set_percent(flagfile.parse(TEXT), "a", 5000) is None


def test_a_flag_in_flow_style_is_changed_at_its_place() -> None:
    made = edit.set_percent(flagfile.parse(TEXT), "a", 12_500)
    assert made is not None
    assert made.file.text == TEXT.replace("percent: 5.0,", "percent: 12.5,")


def test_an_unknown_flag_is_named() -> None:
    with pytest.raises(UnknownFlag, match=r"flags\.yaml has no flag b"):
        edit.set_percent(flagfile.parse(TEXT), "b", 0)


def test_a_flag_with_a_ramp_is_refused() -> None:
    text = TEXT.replace("percent: 5.0,", "ramp: [{at: 2027-01-01T00:00Z, percent: 5}],")
    with pytest.raises(EditRefused, match="a has a ramp"):
        edit.set_percent(flagfile.parse(text), "a", 0)


DAY = timedelta(days=1)
STEPS = (Step(NOW - DAY, 5_000), Step(NOW + DAY, 50_000), Step(NOW + 2 * DAY, 100_000))


def resume(file: FlagFile, key: str, after: timedelta = timedelta(0)) -> Edit | None:
    """Resume so long after the pause, or at any time if there is none."""
    ramp = file.flags[key].rollout
    paused = ramp.paused if isinstance(ramp, Ramp) else None
    return edit.resume(file, key, (paused or NOW) + after, hours=None)


@given(flag_texts(), st.data(), st.sampled_from([0, 1, 2, 3]))
def test_a_ramp_and_its_pause_and_kill_come_and_go_whatever_the_style(
    drawn: tuple[str, dict[str, int]], data: st.DataObject, begun: int
) -> None:
    text, expected = drawn
    key = data.draw(st.sampled_from(sorted(expected)))
    plain = flagfile.parse(text)
    ramped = edit.set_ramp(plain, key, STEPS)
    assert ramped is not None
    assert ramped.file.flags[key].rollout == Ramp(STEPS)
    kept = {line for line in text.splitlines() if "percent:" not in line}
    assert kept <= set(ramped.file.text.splitlines())
    if "\r\n" in text:
        assert "\n" not in ramped.file.text.replace("\r\n", "")
    assert edit.set_ramp(ramped.file, key, STEPS) is None

    now = STEPS[0].at + DAY * begun * 2 - DAY
    if now >= STEPS[-1].at:
        with pytest.raises(EditRefused, match="is over"):
            edit.pause(ramped.file, key, now)
    else:
        paused = edit.pause(ramped.file, key, now)
        assert paused is not None
        assert edit.pause(paused.file, key, now) is None
        held = paused.file.flags[key]
        assert held.threshold_at(NOW + 99 * DAY) == ramped.file.flags[key].threshold_at(now)
        resumed = resume(paused.file, key)
        assert resumed is not None
        assert resumed.file.text == ramped.file.text
        later = resume(paused.file, key, after=DAY)
        assert later is not None
        moved = later.file.flags[key].rollout
        assert isinstance(moved, Ramp)
        assert [s.threshold for s in moved.steps] == [s.threshold for s in STEPS]
        assert moved.steps[-1].at == STEPS[-1].at + DAY
        assert len(later.file.text.splitlines()) == len(ramped.file.text.splitlines())

    for before in (plain, ramped.file):
        killed = edit.kill(before, key, now)
        assert killed is not None
        assert edit.kill(killed.file, key, now) is None
        assert not killed.file.flags[key].enabled
        back = resume(killed.file, key)
        assert back is not None
        assert back.file.text == before.text
        assert resume(back.file, key) is None


BLOCK = """\
version: 1
flags:
  a:
    bucket_by: app
    inside: 1
    outside: 0
    percent: 5.0  # the number to bump"""

RAMPED = (
    BLOCK.replace("percent: 5.0", "ramp:")
    + """
      - {at: 2026-11-22T12:00Z, percent: 5}
      - {at: 2026-11-24T12:00Z, percent: 50}
      - {at: 2026-11-25T12:00Z, percent: 100}"""
)


def test_a_ramp_stands_below_its_key_and_the_comment_stays() -> None:
    made = edit.set_ramp(flagfile.parse(BLOCK), "a", STEPS)
    assert made is not None
    assert made.file.text == RAMPED


def test_another_ramp_replaces_the_steps_alone() -> None:
    text = RAMPED.replace("percent: 5}", "percent: 4}  # gone") + "\n# the end\n"
    made = edit.set_ramp(flagfile.parse(text), "a", STEPS)
    assert made is not None
    assert made.file.text == RAMPED + "\n# the end\n"


def test_another_ramp_ends_the_pause_of_the_one_before() -> None:
    paused = RAMPED.replace("    ramp:", "    paused: 2026-11-22T13:00Z\n    ramp:")
    made = edit.set_ramp(flagfile.parse(paused), "a", STEPS)
    assert made is not None
    assert made.file.text == RAMPED


def test_in_flow_style_a_ramp_stays_on_its_line_and_json_stays_json() -> None:
    text = 'version: 1\nflags: {"a": {"bucket_by": "app", "inside": 1, "outside": 0, "percent":5}}'
    made = edit.set_ramp(flagfile.parse(text), "a", STEPS[:1])
    assert made is not None
    ramp = '"ramp": [{"at": "2026-11-22T12:00Z", "percent": 5}]'
    assert made.file.text == text.replace('"percent":5', ramp)
    killed = edit.kill(made.file, "a", NOW)
    assert killed is not None
    assert '"outside": 0, "enabled": false, "ramp"' in killed.file.text


def test_a_kill_and_a_pause_are_lines_before_the_ramp() -> None:
    file = flagfile.parse(RAMPED)
    made = edit.kill(file, "a", NOW)
    assert made is not None
    assert [(hunk.line, hunk.before, hunk.after) for hunk in made.hunks] == [
        (7, (), ("    enabled: false", "    paused: 2026-11-23T12:00Z"))
    ]


@pytest.mark.parametrize(
    ("line", "killed", "resumed"),
    [
        ("enabled: true  # for now", "enabled: false  # for now", "enabled: true  # for now"),
        ("enabled: true", "enabled: false", None),
    ],
)
def test_a_switch_that_is_there_is_turned(line: str, killed: str, resumed: str | None) -> None:
    text = BLOCK.replace("    inside: 1", f"    {line}\n    inside: 1")
    made = edit.kill(flagfile.parse(text), "a", NOW)
    assert made is not None
    assert made.file.text == text.replace(line, killed)
    back = resume(made.file, "a")
    assert back is not None
    assert back.file.text == (text.replace(line, resumed) if resumed else BLOCK)


def test_a_key_on_the_last_line_goes_without_leaving_one() -> None:
    text = BLOCK + "\n    enabled: false"
    made = resume(flagfile.parse(text), "a")
    assert made is not None
    assert made.file.text == BLOCK


def test_a_pause_before_the_ramp_began_waits_for_all_of_it() -> None:
    early = STEPS[0].at - DAY
    paused = edit.pause(flagfile.parse(RAMPED), "a", early)
    assert paused is not None
    assert paused.file.flags["a"].threshold_at(NOW) == 0
    resumed = resume(paused.file, "a", after=DAY)
    assert resumed is not None
    assert resumed.file.flags["a"].rollout == Ramp(
        tuple(Step(step.at + DAY, step.threshold) for step in STEPS)
    )


def test_a_step_to_nothing_at_the_very_pause_is_kept() -> None:
    text = RAMPED.replace("percent: 5}", "percent: 0}")
    file = flagfile.parse(text)
    paused = edit.pause(file, "a", STEPS[0].at)
    assert paused is not None
    resumed = resume(paused.file, "a")
    assert resumed is not None
    assert resumed.file.flags == file.flags


@pytest.mark.parametrize("change", [edit.pause, edit.kill])
def test_an_unknown_flag_is_named_by_all(change: object) -> None:
    with pytest.raises(UnknownFlag):
        change(flagfile.parse(BLOCK), "b", NOW)  # type: ignore[operator] # one of the two above


def test_only_a_ramp_can_be_paused() -> None:
    with pytest.raises(EditRefused, match=r"a has no ramp: it stays at 5 %") as caught:
        edit.pause(flagfile.parse(BLOCK), "a", NOW)
    assert "rollout kill a" in caught.value.hint


def test_a_percentage_with_a_comment_inside_is_not_lost_silently() -> None:
    text = BLOCK.replace("percent: 5.0  #", "percent:  # why\n      5.0  #")
    with pytest.raises(EditRefused, match="comment"):
        edit.set_ramp(flagfile.parse(text), "a", STEPS)


def test_a_change_that_turns_out_as_another_one_is_refused() -> None:
    file = flagfile.parse(TEXT)
    other = file.text.index("inside: 1") + len("inside: ")
    with pytest.raises(EditRefused, match="without changing something else") as caught:
        edit._edit(file, file.flags["a"], [Span(other, other + 1, "2")])
    assert "by hand" in caught.value.hint
    with pytest.raises(EditRefused, match="would break the file"):
        edit._edit(file, file.flags["a"], [Span(other, other + 1, "[")])
