"""What changed between two states, in words, and whether it throws somebody out."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from rollout.bucketing import Draw
from rollout.evaluate import evaluate
from rollout.flag import Flag, Ramp, Step
from rollout.review.cohort import tally
from rollout.review.diff import count, diff
from tests.rollout.strategies import NOW, flag, thresholds, units

FLAG = flag(5_000, key="a")
DAY = timedelta(days=1)
RAMP = Ramp((Step(NOW - DAY, 5_000), Step(NOW + DAY, 50_000)))
HELD = Ramp(RAMP.steps[:1], NOW, RAMP.steps[1:])
ACME = {"org": frozenset({"acme"})}
HELLO = {"app": frozenset({"hello"})}  # at 6.343 % under deploy-retries, elsewhere under a


def said(old: Flag | None, new: Flag | None) -> list[tuple[str, str, bool]]:
    found = diff({"a": old} if old else {}, {"a": new} if new else {}, NOW)
    return [(c.what, c.text, c.evicts) for each in found for c in each.changes]


@pytest.mark.parametrize(
    ("old", "new", "what", "text", "evicts"),
    [
        ({}, {"rollout": 6_000}, "percent", "5 % -> 6 %: another 1 % enter, nobody leaves", False),
        ({}, {"rollout": 1_500}, "percent", "5 % -> 1.5 %: 3.5 % leave, the last in first", True),
        ({"enabled": False}, {"rollout": 0, "enabled": False}, "percent",
         "5 % -> 0 %: the flag is off", False),
        ({}, {"enabled": False}, "enabled", "switched off: everybody is outside", True),
        ({"rollout": 0}, {"rollout": 0, "enabled": False}, "enabled",
         "switched off: everybody is outside", False),
        ({"enabled": False}, {}, "enabled", "switched on, at 5 %", False),
        ({}, {"salt": "b"}, "salt", "a -> b: everybody is drawn anew", True),
        ({"rollout": 0}, {"rollout": 0, "salt": "b"}, "salt", "a -> b: everybody is drawn anew",
         False),
        ({}, {"bucketing": "flagd-2"}, "bucketing", "flagd-3 -> flagd-2: everybody is drawn anew",
         True),
        ({}, {"bucket_by": "org"}, "bucket_by", "app -> org: everybody is drawn anew", True),
        ({"rollout": 100_000}, {"rollout": 100_000, "bucket_by": "ap"}, "bucket_by",
         "app -> ap: everybody is drawn anew", True),
        ({"rollout": 100_000}, {"rollout": 100_000, "salt": "b"}, "salt",
         "a -> b: everybody is drawn anew", False),
        ({}, {"inside": 6}, "inside", "5 -> 6: another value for those inside", False),
        ({}, {"outside": 1}, "outside", "0 -> 1: another value for those outside", False),
        ({}, {"owner": "me"}, "owner", "none -> me", False),
        ({"expires": "2027-01-01"}, {}, "expires", "2027-01-01 -> none", False),
        ({}, {"rollout": RAMP}, "ramp",
         "a ramp in place of percent, stays at 5 %; 1 step to come, 50 % on 2026-11-24T12:00Z",
         False),
        ({"rollout": RAMP}, {"rollout": HELD}, "ramp", ("paused since 2026-11-23T12:00Z, "
         "stays at 5 %"), False),
        ({"rollout": HELD}, {"rollout": RAMP}, "ramp", ("no longer paused, stays at 5 %; "
         "1 step to come, 50 % on 2026-11-24T12:00Z"), False),
        ({"rollout": RAMP}, {"rollout": 2_000}, "ramp",
         "no ramp, 5 % -> 2 % now: 3 % leave, the last in first", True),
        ({}, {"rollout": Ramp((Step(NOW + DAY, 9_000),))}, "ramp",
         ("a ramp in place of percent, 5 % -> 0 % now: 5 % leave, the last in first; "
         "1 step to come, 9 % on 2026-11-24T12:00Z"), True),
        ({}, {"always_inside": ACME}, "always_inside", "org acme added", False),
        ({"always_inside": ACME}, {}, "always_inside", "org acme removed", True),
        ({"always_inside": ACME}, {"rollout": 100_000}, "always_inside", "org acme removed", False),
        ({}, {"always_outside": ACME}, "always_outside", "org acme added", True),
        ({"always_outside": ACME}, {}, "always_outside", "org acme removed", False),
        ({"always_inside": HELLO}, {}, "always_inside", "app hello removed", True),
        ({"always_inside": HELLO, "enabled": False}, {}, "always_inside", "app hello removed",
         False),
        ({}, {"always_outside": HELLO}, "always_outside", "app hello added", False),
        ({"rollout": 100_000}, {"rollout": 100_000, "always_outside": HELLO}, "always_outside",
         "app hello added", True),
    ],
)  # fmt: skip
def test_every_change_is_said_in_words(
    old: dict[str, Any], new: dict[str, Any], what: str, text: str, evicts: bool
) -> None:
    found = said(replace(FLAG, **old), replace(FLAG, **new))
    assert (what, text, evicts) in found


@pytest.mark.parametrize(
    ("flag", "text", "evicts"),
    [
        (FLAG, "removed, at 5 %: all units inside are thrown out", True),
        (replace(FLAG, rollout=100_000), "removed at 100 %: no code may ask for it any more",
         False),
        (replace(FLAG, enabled=False), "removed, off: nobody was inside", False),
        (replace(FLAG, rollout=0, always_inside=ACME),
         "removed, at 0 %: all units inside are thrown out", True),
    ],
)  # fmt: skip
def test_a_flag_that_is_gone_is_told_by_where_it_stood(flag: Flag, text: str, evicts: bool) -> None:
    assert said(flag, None) == [("flag", text, evicts)]


def test_a_new_flag_throws_nobody_out() -> None:
    assert said(None, FLAG) == [("flag", "new, at 5 %", False)]


def test_a_ramp_that_will_go_down_is_held_already() -> None:
    falling = Ramp((Step(NOW - DAY, 5_000), Step(NOW + DAY, 1_000)))
    found = said(FLAG, replace(FLAG, rollout=falling))
    assert found[1] == (
        "ramp",
        "goes down on 2026-11-24T12:00Z, 5 % -> 1 %: the last in leave first",
        True,
    )


_states = st.builds(
    lambda threshold, enabled, draw, inside, outside: replace(
        flag(threshold, key="a", draw=draw),
        enabled=enabled,
        always_inside=inside,
        always_outside=outside,
    ),
    thresholds | st.sampled_from([0, 100_000]),
    st.booleans(),
    st.sampled_from([Draw("s"), Draw("t"), Draw("s", "flagd-2")]),
    st.dictionaries(st.just("app"), st.frozensets(st.sampled_from("xyz"), max_size=2), max_size=1),
    st.dictionaries(st.just("app"), st.frozensets(st.sampled_from("xyz"), max_size=2), max_size=1),
)


@given(_states, _states, st.lists(units | st.sampled_from("xyz")))
def test_whoever_is_thrown_out_is_never_missed(old: Flag, new: Flag, drawn: list[str]) -> None:
    """With the units and without: no verdict of nobody where somebody leaves."""
    leavers = [
        unit
        for unit in drawn
        if evaluate(old, {"app": unit}, NOW).variant == "inside"
        and evaluate(new, {"app": unit}, NOW).variant == "outside"
    ]
    batch = [unit.encode() for unit in drawn]
    found = diff({"a": old}, {"a": new}, NOW)
    counts = count(found, [batch[:2], batch[2:]], NOW)
    for each in found:
        assert counts["a"] == tally(old, new, batch, NOW)
        assert counts["a"].leaves == len(leavers)
        if leavers:
            assert each.thrown_out(None)
            assert each.thrown_out(counts["a"])


_known = st.fixed_dictionaries(
    {"app": st.sampled_from("xyz")}, optional={"org": st.sampled_from("xyz")}
)
_names = st.dictionaries(
    st.sampled_from(["app", "org"]), st.frozensets(st.sampled_from("xyz"), max_size=2), max_size=2
)
_knowing = st.builds(
    lambda threshold, enabled, bucket_by, inside, outside: replace(
        flag(threshold, key="a"),
        enabled=enabled,
        bucket_by=bucket_by,
        always_inside=inside,
        always_outside=outside,
    ),
    st.sampled_from([0, 30_000, 60_000, 100_000]),
    st.booleans(),
    st.sampled_from(["app", "org"]),
    _names,
    _names,
)


@given(_knowing, _knowing, _known)
@example(
    replace(FLAG, always_inside={"org": frozenset("x")}),
    replace(FLAG, always_inside={"org": frozenset("x")}, always_outside={"app": frozenset("y")}),
    {"app": "y", "org": "x"},
)
def test_whatever_else_is_known_of_whom_is_thrown_out_none_is_missed(
    old: Flag, new: Flag, context: dict[str, str]
) -> None:
    was, is_now = (evaluate(each, context, NOW).variant for each in (old, new))
    found = diff({"a": old}, {"a": new}, NOW)
    if (was, is_now) == ("inside", "outside"):
        assert any(each.thrown_out(None) for each in found)
        if old.bucket_by == new.bucket_by:
            counts = count(found, [[context.get(old.bucket_by, "nobody").encode()]], NOW)
            assert any(each.thrown_out(counts["a"]) for each in found)
