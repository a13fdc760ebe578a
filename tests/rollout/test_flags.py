"""The library: load once, ask often."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given

from rollout import BadFlagFile, Flags, UnknownFlag
from rollout.evaluate import evaluate
from tests.rollout.strategies import NOW, flag_texts, units

TEXT = """\
version: 1
flags:
  deploy-retries: {bucket_by: app, percent: 5, inside: 5, outside: 0}
"""


def test_it_reads_as_the_guide_says(tmp_path: Path) -> None:
    path = tmp_path / "flags.yaml"
    path.write_text(TEXT)
    flags = Flags.load(path)
    decision = flags.evaluate("deploy-retries", app="hello")
    assert (decision.value, decision.reason, decision.bucket) == (0, "SPLIT", 6343)
    assert flags.source == str(path)


def test_without_a_path_it_loads_the_bundled_file() -> None:
    flags = Flags.load()
    assert flags.source == "the bundled flags.yaml"
    assert flags.evaluate("deploy-retries", app="hello", org="acme").unit == "hello"


@given(flag_texts(), units)
def test_it_decides_as_the_pure_function_does(text: tuple[str, dict[str, int]], unit: str) -> None:
    flags = Flags.parse(text[0])
    for key, flag in flags.items():
        expected = evaluate(flag, {"app": unit}, NOW)
        assert flags.evaluate(key, app=unit) == expected
        assert flags.decider(key)(unit) == expected
        assert flags.evaluate_at(NOW, key, {"app": unit}) == expected


def test_a_ramp_follows_the_clock() -> None:
    now = datetime.now(UTC)
    steps = ", ".join(
        f"{{at: {(now + timedelta(hours=hours)).isoformat()}, percent: {percent}}}"
        for hours, percent in ((-2, 1), (-1, 100), (1, 2))
    )
    flags = Flags.parse(TEXT.replace("percent: 5", f"ramp: [{steps}]"))
    assert flags.evaluate("deploy-retries", app="hello").percent == "100"
    assert flags.decider("deploy-retries")("hello").percent == "100"
    later = Flags.parse(TEXT.replace("percent: 5", "ramp: [{at: 2999-01-01T00:00Z, percent: 5}]"))
    assert later.evaluate("deploy-retries", app="hello").percent == "0"


def test_an_unknown_flag_is_named_with_the_nearest() -> None:
    flags = Flags.parse(TEXT)
    for ask in (
        lambda: flags.evaluate("deploy-retry"),
        lambda: flags.evaluate_at(NOW, "deploy-retry", {}),
        lambda: flags.decider("deploy-retry"),
        lambda: flags["deploy-retry"],
    ):
        with pytest.raises(UnknownFlag) as caught:
            ask()
        assert str(caught.value) == "flags.yaml has no flag deploy-retry"
        assert caught.value.hint == "did you mean deploy-retries?"


def test_it_is_a_mapping() -> None:
    flags = Flags.parse(TEXT)
    assert list(flags) == ["deploy-retries"]
    assert "deploy-retries" in flags
    assert flags.get("x") is None
    assert repr(flags) == "<Flags of flags.yaml: deploy-retries>"


def test_an_attribute_may_have_any_name() -> None:
    text = TEXT.replace("bucket_by: app", "bucket_by: self")
    assert Flags.parse(text).evaluate("deploy-retries", self="a", key="b").unit == "a"


def test_a_decider_takes_the_unit_alone_and_other_attributes_beside_it() -> None:
    lists = "always_inside: {org: [acme], app: [vip]}, always_outside: {app: [banned]}"
    decide = Flags.parse(TEXT.replace("percent: 5", f"percent: 0, {lists}")).decider(
        "deploy-retries"
    )
    asked = [decide("vip"), decide("x"), decide("x", {"org": "acme"}), decide("banned")]
    assert [decision.value for decision in asked] == [5, 0, 5, 0]
    assert [decision.unit for decision in asked] == ["vip", "x", "x", "banned"]
    assert decide("x", {"app": "vip"}).value == 0  # the unit given is the unit


def test_a_time_without_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="needs an offset"):
        Flags.parse(TEXT).evaluate_at(NOW.replace(tzinfo=None), "deploy-retries", {})


def test_a_decision_travels() -> None:
    decision = Flags.parse(TEXT).evaluate("deploy-retries", app="hello")
    assert pickle.loads(pickle.dumps(decision)) == decision  # noqa: S301 -- our own bytes


def test_a_broken_file_raises_with_every_problem(tmp_path: Path) -> None:
    path = tmp_path / "flags.yaml"
    path.write_text("version: 2\n")
    with pytest.raises(BadFlagFile) as caught:
        Flags.load(path)
    assert len(caught.value.problems) == 2
    assert str(caught.value) == f"{path}:1:1: flags is missing (and 1 more)"
