"""Flags with more than two values: what is promised of their shares, whoever decides."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext

from rollout import Flags
from rollout.bucketing import Draw
from rollout.evaluate import evaluate
from rollout.flag import Flag, Variant
from rollout.review.cohort import Tally, members, names, tally
from rollout.review.diff import count, diff
from rollout.serving.export import to_flagd
from tests.rollout.strategies import NOW, draws, flag, thresholds, units, varied, with_weights

TEXT = """\
version: 1
flags:
  colour:
    bucket_by: app
    variants:
      red: {weight: 10, value: "#f00", always: {app: [both, mine]}}
      blue: {weight: 20.125, value: "#00f", always: {org: [acme], app: [both]}}
      grey: {weight: 69.875, value: "#ccc"}
  size:
    bucket_by: app
    variants:
      small: {weight: 50, value: 0.5}
      large: {weight: 50, value: 2}
  layout:
    bucket_by: app
    variants:
      new: {weight: 0, value: {columns: [1, 2]}}
      old: {weight: 100, value: {columns: []}}
"""


def variant(asked: Flag, unit: str) -> str:
    return evaluate(asked, {"app": unit}, NOW).variant


@given(varied(), units)
def test_a_unit_has_the_variant_whose_share_its_bucket_is_in(asked: Flag, unit: str) -> None:
    decision = evaluate(asked, {"app": unit}, NOW)
    assert decision.reason == "SPLIT"
    starts = [0, *(share.ends for share in asked.shares(NOW))]
    (share,) = [
        share
        for start, share in zip(starts, asked.shares(NOW), strict=False)
        if start <= (decision.bucket or 0) < share.ends
    ]
    assert (decision.variant, decision.value) == (share.name, share.value)


def test_weights_are_the_shares_of_units() -> None:
    asked = with_weights([10_000, 20_000, 30_000, 40_000], Draw("a"))
    found = Counter(variant(asked, f"app-{number}") for number in range(20_000))
    for index, share in enumerate((0.1, 0.2, 0.3, 0.4)):
        assert abs(found[f"v{index}"] / 20_000 - share) < 0.015


@given(varied(), st.data(), units)
def test_growing_the_first_takes_from_the_last_alone(
    asked: Flag, data: st.DataObject, unit: str
) -> None:
    first, *between, last = asked.variants
    more = data.draw(st.integers(0, last.weight))
    grown = replace(
        asked,
        variants=(
            replace(first, weight=first.weight + more),
            *between,
            replace(last, weight=last.weight - more),
        ),
    )
    was, has = variant(asked, unit), variant(grown, unit)
    assert was == has or (was, has) == (last.name, first.name)


@given(thresholds, draws, units)
def test_two_variants_draw_as_inside_and_outside_do(threshold: int, draw: Draw, unit: str) -> None:
    two = with_weights([threshold, 100_000 - threshold], draw)
    plain = evaluate(flag(threshold, draw=draw), {"app": unit}, NOW)
    asked = evaluate(two, {"app": unit}, NOW)
    assert (asked.variant == "v0", asked.bucket) == (plain.variant == "inside", plain.bucket)


@pytest.mark.parametrize(
    ("key", "context", "variant", "reason", "why"),
    [
        ("colour", {"app": "mine"}, "red", "TARGETING_MATCH", "app mine is always red"),
        ("colour", {"app": "both"}, "red", "TARGETING_MATCH", "app both is always red"),
        ("colour", {"app": "x", "org": "acme"}, "blue", "TARGETING_MATCH", "org acme is always"),
        ("colour", {}, "grey", "ERROR", "the context has no app"),
        ("colour", {"app": 7}, "grey", "ERROR", "app is not text but int"),
        ("layout", {}, "old", "STATIC", "rollout is at 0 %, for every unit"),
        ("colour", {"app": "hello"}, "grey", "SPLIT", "app hello is at "),
    ],
)
def test_the_order_of_evaluation(
    key: str, context: dict[str, Any], variant: str, reason: str, why: str
) -> None:
    decision = Flags.parse(TEXT).evaluate(key, **context)
    assert (decision.variant, decision.reason) == (variant, reason)
    assert decision.why.startswith(why)


def test_a_flag_that_is_off_is_worth_its_last_variant() -> None:
    text = TEXT.replace("  colour:\n", "  colour:\n    enabled: false\n")
    decision = Flags.parse(text).evaluate("colour", app="mine")
    assert (decision.value, decision.variant, decision.reason) == ("#ccc", "grey", "DISABLED")


lists = st.dictionaries(
    st.just("app"), st.frozensets(st.sampled_from("xyz"), max_size=2), max_size=1
)


@st.composite
def states(draw: st.DrawFn) -> Flag:
    """A flag with variants and lists, switched on or off."""
    made = draw(varied(Draw("a")))
    variants = tuple(replace(each, always=draw(lists)) for each in made.variants)
    return replace(made, enabled=draw(st.booleans()), variants=variants)


@given(states(), states(), st.lists(units | st.sampled_from("xyz")))
def test_who_moves_is_what_each_is_worth_and_nobody_thrown_out_is_missed(
    old: Flag, new: Flag, drawn: list[str]
) -> None:
    batch = [unit.encode() for unit in drawn]
    moved = names(old, new, batch, NOW)
    for unit in drawn:
        was, has = variant(old, unit), variant(new, unit)
        was, has = ("" if was == old.rest else was), ("" if has == new.rest else has)
        kind = (0 if was == has else 2) if was else (1 if has else 3)
        assert unit.encode() in moved[kind]
    assert tally(old, new, batch, NOW) == Tally(*map(len, moved))
    found = diff({"a": old}, {"a": new}, NOW)
    counts = count(found, [batch], NOW)
    for each in found:
        assert counts["a"].leaves == len(moved.leaves)
        if moved.leaves:
            assert each.thrown_out(None)
            assert each.thrown_out(counts["a"])


@given(states(), st.lists(units | st.sampled_from("xyz")))
def test_the_members_of_a_variant_are_those_that_have_it(asked: Flag, drawn: list[str]) -> None:
    batch = [unit.encode() for unit in drawn]
    for share in asked.shares(NOW):
        has = [unit.encode() for unit in drawn if variant(asked, unit) == share.name]
        assert members(asked, batch, NOW, share.name) == has


def said(before: str, after: str) -> list[tuple[str, bool]]:
    found = diff(Flags.parse(before), Flags.parse(after), NOW)
    return [(change.text, change.evicts) for each in found for change in each.changes]


def test_a_diff_says_who_takes_from_whom() -> None:
    grown = TEXT.replace("weight: 10,", "weight: 15,").replace("69.875", "64.875")
    assert said(TEXT, grown) == [("red 10 % -> 15 %, grey 69.875 % -> 64.875 %", False)]
    assert said(grown, TEXT) == [("red 15 % -> 10 %, grey 64.875 % -> 69.875 %", True)]
    other = TEXT.replace('"#00f"', '"#007"')
    assert said(TEXT, other) == [("blue: another value, #00f -> #007", False)]
    assert said(TEXT, TEXT.replace("mine]", "me]")) == [
        ("other lists of what always has a variant", True)
    ]


@given(varied(Draw("a")), st.lists(units, max_size=10))
@example(with_weights([0, 100_000], Draw("a")), ["x"])
@example(with_weights([10, 20, 30, 99_940], Draw("a")), ["x"])
def test_flagd_draws_the_same_variants(asked: Flag, drawn: list[str]) -> None:
    core = FlagdCore()
    core.set_flags(json.dumps(to_flagd([asked])))
    for unit in drawn:
        found = core.resolve_integer_value("a", -1, EvaluationContext(unit))
        assert found.variant == variant(asked, unit)


def test_flagd_knows_lists_and_all_types() -> None:
    flags = Flags.parse(TEXT)
    core = FlagdCore()
    core.set_flags(json.dumps(to_flagd(flags.values())))
    ask: dict[str, Any] = {
        "colour": core.resolve_string_value,
        "size": core.resolve_float_value,
        "layout": core.resolve_object_value,
    }
    for key, resolve in ask.items():
        for context in ({}, {"org": "acme"}):
            for unit in ("mine", "both", *map(str, range(50))):
                decision = flags.evaluate(key, app=unit, **context)
                default: Any = {"colour": "?", "size": -1.0, "layout": {}}[key]
                found = resolve(key, default, EvaluationContext(unit, context))
                assert (found.value, found.variant) == (decision.value, decision.variant)


def test_a_variant_is_a_value_with_a_weight() -> None:
    assert Flags.parse(TEXT)["size"].variants == (
        Variant("small", 50_000, 0.5),
        Variant("large", 50_000, 2.0),
    )
