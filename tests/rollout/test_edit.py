"""A bump changes one number in the text and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollout import edit, flagfile
from rollout.errors import EditRefused, UnknownFlag
from rollout.flag import percent_text
from tests.rollout.strategies import flag_texts, thresholds

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
    assert changed == [made.line]
    assert made.before == old[made.line - 1].rstrip("\r\n")
    assert made.after == made.before.replace(
        f"percent: {percent_text(expected[key])}", f"percent: {percent_text(threshold)}", 1
    )
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
