from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.errors import UsageProblem
from deploy.retries import Retries, asked_for, foretold, from_flag, parse_setting, refuse_missing

NOW = datetime(2026, 11, 1, tzinfo=UTC)
FLAGS = """\
version: 1
flags:
  deploy-retries:
    description: Retry deploy orchestration after platform hiccups.
    owner: release-engineering
    expires: 2027-03-31
    bucket_by: app
    percent: {percent}
    inside: {inside}
    outside: {outside}
"""


def flag(
    tmp_path: Path,
    *,
    percent: object = 5,
    inside: object = 5,
    outside: object = 0,
) -> Retries:
    path = tmp_path / "flags.yaml"
    path.write_text(FLAGS.format(percent=percent, inside=inside, outside=outside))
    return from_flag(str(path), context={"app": "hello"}, now=NOW)


@pytest.mark.parametrize(
    ("percent", "told"),
    [
        (0, "0 (rollout is at 0 %, for every unit): legacy path"),
        (50, "known when it begins (every deploy is drawn by itself, the rollout is at 50 %)"),
        (100, "5 (rollout is at 100 %, for every unit): retrying path"),
    ],
)
def test_of_a_deploy_to_come_no_place_is_made_up(tmp_path: Path, percent: int, told: str) -> None:
    path = tmp_path / "flags.yaml"
    by_deploy = FLAGS.replace("bucket_by: app", "bucket_by: deploy")
    path.write_text(by_deploy.format(percent=percent, inside=5, outside=0))
    retries = foretold(str(path), context={"app": "hello"}, now=NOW)
    assert retries.sentence == f"deploy-retries: auto -> {told}"


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("5", 5), ("1000", 1000), ("auto", None)])
def test_a_number_or_auto_is_taken(text: str, number: int | None) -> None:
    assert parse_setting(text) == number


@pytest.mark.parametrize(
    "text",
    ["-1", "1.5", "yes", "", "1001", "0x5", " 5", "5 ", "٣", "AUTO", "1e3", "9" * 400, "+1", "5\n"],
)
def test_anything_else_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        parse_setting(text)
    assert "auto" in caught.value.hint
    assert caught.value.exit_code == 2


@given(st.text())
def test_any_text_is_a_number_of_retries_or_a_usage_problem(text: str) -> None:
    try:
        number = parse_setting(text)
    except UsageProblem:
        return
    assert number is None or 0 <= number <= 1000


def test_zero_is_the_legacy_path_and_more_the_retrying_one() -> None:
    assert asked_for(0).path == "legacy"
    assert asked_for(1).path == "retrying"
    assert "asked for" in asked_for(3).sentence
    assert asked_for(3).decision is None


def test_the_flag_says_how_many_and_why(tmp_path: Path) -> None:
    outside = flag(tmp_path, percent=5)
    assert (outside.count, outside.path, outside.warning) == (0, "legacy", "")
    assert outside.sentence == (
        "deploy-retries: auto -> 0 (app hello is at 6.343 %, rollout is at 5 %): legacy path"
    )
    inside = flag(tmp_path, percent=10)
    assert (inside.count, inside.path) == (5, "retrying")
    assert inside.decision is not None
    assert inside.decision.value == 5
    assert inside.decision.reason == "SPLIT"
    assert (inside.decision.bucket, inside.decision.percent) == (6343, 10.0)
    assert inside.decision.sentence == inside.sentence


@pytest.mark.parametrize(
    ("inside", "outside"),
    [(-1, 0), (1001, 0), ("true", "false"), ("many", "few"), (1.5, 0)],
    ids=str,
)
def test_a_flag_that_is_no_number_of_retries_means_none_and_warns(
    tmp_path: Path, inside: object, outside: object
) -> None:
    told = flag(tmp_path, percent=100, inside=inside, outside=outside)
    assert (told.count, told.path) == (0, "legacy")
    assert told.warning
    assert "cannot be used" in told.sentence
    assert told.decision is not None
    assert told.decision.value is None
    assert told.decision.error == told.warning


@pytest.mark.parametrize(
    "text", ["", "[]", "version: 1", "flags: {", "\x00", "version: 2\nflags: {}"]
)
def test_a_broken_flags_file_means_no_retries_and_warns(tmp_path: Path, text: str) -> None:
    path = tmp_path / "flags.yaml"
    path.write_text(text)
    told = from_flag(str(path), context={"app": "hello"}, now=NOW)
    assert (told.count, told.path) == (0, "legacy")
    assert told.warning


def test_a_missing_file_is_a_usage_problem_only_where_it_was_asked_for(tmp_path: Path) -> None:
    missing = str(tmp_path / "nowhere.yaml")
    with pytest.raises(UsageProblem, match="--flags"):
        refuse_missing(missing)
    told = from_flag(missing, context={"app": "hello"}, now=NOW)
    assert (told.count, told.path) == (0, "legacy")
    assert told.warning


def test_what_is_there_what_is_an_address_and_nothing_at_all_are_not_missing(
    tmp_path: Path,
) -> None:
    for source in (None, str(tmp_path), "https://flags.test/flags.yaml"):
        refuse_missing(source)


def test_an_app_without_a_name_in_the_context_is_outside(tmp_path: Path) -> None:
    path = tmp_path / "flags.yaml"
    path.write_text(FLAGS.format(percent=50, inside=5, outside=0))
    assert from_flag(str(path), context={}, now=NOW).count == 0


def test_the_flags_that_come_along_can_be_used() -> None:
    told = from_flag(None, context={"app": "hello"}, now=NOW)
    assert told.warning == ""
