"""The order of evaluation, and the promises of bucketing as a flag keeps them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext

from rollout.bucketing import Draw, bucket, hash32
from rollout.evaluate import evaluate
from rollout.flag import Flag, Ramp, Step
from tests.rollout.strategies import NOW, draws, flag, keys, thresholds, units

change = msgspec.structs.replace


def is_inside(flag: Flag, unit: str) -> bool:
    return evaluate(flag, {"app": unit}, NOW).variant == "inside"


@given(units, thresholds, draws)
@example("x" * 300, 50_000, Draw("s"))
@example("x" * 300, 50_000, Draw("s", "flagd-2"))
def test_a_unit_is_inside_when_its_bucket_is_below_the_threshold(
    unit: str, threshold: int, draw: Draw
) -> None:
    decision = evaluate(flag(threshold, draw=draw), {"app": unit}, NOW)
    assert decision.bucket == bucket(draw, unit)
    assert decision.unit == unit
    assert decision.hash32 == hash32(draw, unit)
    assert decision.reason == "SPLIT"
    assert (decision.variant == "inside") is (decision.bucket < threshold)
    assert decision.value == (5 if decision.variant == "inside" else 0)


@given(units, draws)
@example("app-10627", Draw("deploy-retries"))  # its hash is the first of its bucket: 1 in 43,000
def test_the_threshold_itself_is_outside(unit: str, draw: Draw) -> None:
    place = bucket(draw, unit)
    assert not is_inside(flag(place, draw=draw), unit)
    assert is_inside(flag(place + 1, draw=draw), unit)


@given(units, thresholds, thresholds, draws)
def test_raising_the_percentage_only_ever_adds_units(
    unit: str, one: int, other: int, draw: Draw
) -> None:
    low, high = sorted((one, other))
    assert is_inside(flag(low, draw=draw), unit) <= is_inside(flag(high, draw=draw), unit)


@given(units, units, thresholds, draws)
def test_lowering_the_percentage_removes_the_last_in_first(
    one: str, other: str, threshold: int, draw: Draw
) -> None:
    early, late = sorted((one, other), key=lambda unit: bucket(draw, unit))
    if is_inside(flag(threshold, draw=draw), late):
        assert is_inside(flag(threshold, draw=draw), early)


@given(units, draws)
def test_0_is_nobody_and_100_is_everybody(unit: str, draw: Draw) -> None:
    assert not is_inside(flag(0, draw=draw), unit)
    assert is_inside(flag(100_000, draw=draw), unit)


@given(units, thresholds, keys, keys, draws)
def test_renaming_a_flag_that_names_its_salt_moves_nobody(
    unit: str, threshold: int, old: str, new: str, draw: Draw
) -> None:
    before, after = flag(threshold, old, draw), flag(threshold, new, draw)
    assert is_inside(before, unit) == is_inside(after, unit)


@given(units, thresholds, draws)
def test_two_flags_with_one_draw_share_a_cohort(unit: str, threshold: int, draw: Draw) -> None:
    one, two = flag(threshold, "one", draw), flag(threshold, "two", draw)
    assert is_inside(one, unit) == is_inside(two, unit)


@given(st.lists(st.text(min_size=1), min_size=1, max_size=20), thresholds, keys)
@example(["ünïcode-äpp", "アプリ", "🚀", " padded ", "x" * 300], 50_000, "deploy-retries")
def test_flagd_draws_the_same_cohort(drawn: list[str], threshold: int, key: str) -> None:
    weights = [["inside", threshold], ["outside", 100_000 - threshold]]
    oracle = FlagdCore()
    oracle.set_flags(
        {
            "flags": {
                key: {
                    "state": "ENABLED",
                    "variants": {"inside": "inside", "outside": "outside"},
                    "defaultVariant": "outside",
                    "targeting": {"fractional": weights},
                }
            }
        }
    )
    for unit in drawn:
        theirs = oracle.resolve_string_value(key, "default", EvaluationContext(unit)).value
        assert evaluate(flag(threshold, key), {"app": unit}, NOW).variant == theirs


class LooksLikeText:
    """No str, and yet it can be encoded."""

    def encode(self) -> bytes:
        raise ArithmeticError


FULL = change(
    flag(100_000),
    always_inside={"app": frozenset({"in", "both"}), "org": frozenset({"acme", "7", "true", ""})},
    always_outside={"app": frozenset({"out", "both", ""}), "org": frozenset({"banned"})},
)
HALF = change(FULL, rollout=50_000)
NOBODY = change(FULL, rollout=0)
OFF = change(FULL, enabled=False)


@pytest.mark.parametrize(
    ("asked", "context", "variant", "reason", "why"),
    [
        (OFF, {"app": "in"}, "outside", "DISABLED", "the flag is off"),
        (OFF, {}, "outside", "DISABLED", "the flag is off"),
        (FULL, {"app": "out"}, "outside", "TARGETING_MATCH", "app out is always outside"),
        (FULL, {"app": "both"}, "outside", "TARGETING_MATCH", "app both is always outside"),
        (FULL, {"app": "in", "org": "banned"}, "outside", "TARGETING_MATCH", "org banned is"),
        (FULL, {"org": "banned"}, "outside", "TARGETING_MATCH", "org banned is always outside"),
        (NOBODY, {"app": "in"}, "inside", "TARGETING_MATCH", "app in is always inside"),
        (NOBODY, {"app": "x", "org": "acme"}, "inside", "TARGETING_MATCH", "org acme is always in"),
        (NOBODY, {"org": "acme"}, "inside", "TARGETING_MATCH", "org acme is always inside"),
        (FULL, {}, "inside", "STATIC", "rollout is at 100 %, for every unit"),
        (FULL, {"app": ""}, "inside", "STATIC", "rollout is at 100 %, for every unit"),
        (NOBODY, {"app": None}, "outside", "STATIC", "rollout is at 0 %, for every unit"),
        (HALF, {}, "outside", "ERROR", "the context has no app"),
        (HALF, {"app": None}, "outside", "ERROR", "the context has no app"),
        (HALF, {"app": ""}, "outside", "ERROR", "app is empty"),
        (HALF, {"app": "", "org": "acme"}, "inside", "TARGETING_MATCH", "org acme is always in"),
        (FULL, {"app": 7}, "outside", "ERROR", "app is not text but int"),
        (FULL, {"app": b"x"}, "outside", "ERROR", "app is not text but bytes"),
        (FULL, {"app": ["in"]}, "outside", "ERROR", "app is not text but list"),
        (FULL, {"app": LooksLikeText()}, "outside", "ERROR", "app is not text but LooksLike"),
        (FULL, {"app": "\ud800"}, "outside", "ERROR", 'app "\\ud800" is not text that UTF-8 can'),
        (FULL, {"app": "x", "org": "other"}, "inside", "SPLIT", "app x is at "),
        (NOBODY, {"app": "x", "org": 7}, "inside", "TARGETING_MATCH", "org 7 is always inside"),
        (NOBODY, {"app": "x", "org": 7.0}, "inside", "TARGETING_MATCH", "org 7 is always inside"),
        (NOBODY, {"app": "x", "org": 7.5}, "outside", "SPLIT", "app x is at "),
        (NOBODY, {"app": "x", "org": True}, "inside", "TARGETING_MATCH", "org true is always in"),
        (NOBODY, {"app": "x", "org": 8}, "outside", "SPLIT", "app x is at "),
        (NOBODY, {"app": "x", "org": None}, "outside", "SPLIT", "app x is at "),
        (NOBODY, {"app": "x", "org": ["acme"]}, "outside", "ERROR", "org is not text but list"),
        (NOBODY, {"app": "x", "org": 10**5000}, "outside", "ERROR", "org is not text but int"),
    ],
)
def test_the_order_of_evaluation(
    asked: Flag, context: dict[str, Any], variant: str, reason: str, why: str
) -> None:
    decision = evaluate(asked, context, NOW)
    assert (decision.variant, decision.reason) == (variant, reason)
    assert decision.why.startswith(why)
    assert (decision.bucket is not None) is (reason == "SPLIT")


@pytest.mark.parametrize(
    ("context", "code"),
    [
        ({}, "TARGETING_KEY_MISSING"),
        ({"app": None}, "TARGETING_KEY_MISSING"),
        ({"app": ""}, "TARGETING_KEY_MISSING"),
        ({"app": 7}, "INVALID_CONTEXT"),
        ({"app": "\udfff"}, "INVALID_CONTEXT"),
        ({"app": "hello"}, ""),
    ],
)
def test_error_codes_are_the_words_of_openfeature(context: dict[str, Any], code: str) -> None:
    assert evaluate(flag(), context, NOW).error_code == code


json_like = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["app", "org", "x"]), json_like))
def test_no_context_makes_it_raise(context: dict[str, Any]) -> None:
    for asked in (FULL, HALF, NOBODY, OFF):
        decision = evaluate(asked, context, NOW)
        assert decision.explain().encode()


def test_a_ramp_holds_the_step_that_began_last_and_nobody_before_the_first() -> None:
    steps = (
        Step(datetime(2027, 3, 1, 9, tzinfo=UTC), 5_000),
        Step(datetime(2027, 3, 2, 9, tzinfo=UTC), 100_000),
    )
    ramped = change(flag(), rollout=Ramp(steps))
    tick = timedelta(microseconds=1)
    asked = [steps[0].at - tick, steps[0].at, steps[1].at - tick, steps[1].at]
    found = [evaluate(ramped, {"app": "hello"}, now) for now in asked]
    assert [decision.percent for decision in found] == ["0", "5", "5", "100"]
    assert [decision.variant for decision in found] == ["outside"] * 3 + ["inside"]
    assert [decision.why for decision in found] == [
        "app hello is at 6.343 %, rollout is at 0 % until 2027-03-01T09:00Z",
        "app hello is at 6.343 %, rollout is at 5 % since 2027-03-01T09:00Z",
        "app hello is at 6.343 %, rollout is at 5 % since 2027-03-01T09:00Z",
        "app hello is at 6.343 %, rollout is at 100 % since 2027-03-02T09:00Z",
    ]
