"""flags.yaml as a flagd definition, read by flagd's own provider from a file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode, GeneralError

from rollout import Flags
from rollout.errors import ExportRefused
from rollout.serving.export import DRAWN_BY, to_flagd
from tests.rollout.strategies import flag, keys, thresholds, units

TEXT = """\
version: 1
flags:
  deploy-retries: {bucket_by: app, percent: 12.345, inside: 5, outside: 0}
  nobody: {bucket_by: app, percent: 0, inside: true, outside: false}
  everybody: {bucket_by: targetingKey, percent: 100, inside: new, outside: ""}
  "off": {bucket_by: app, percent: 100, inside: 1, outside: 0, enabled: false, salt: other}
  listed:
    owner: me
    bucket_by: app
    percent: 50
    inside: new
    outside: old
    always_inside: {app: [app-1, app-2], org: [acme]}
    always_outside: {app: [app-2], org: [evil, "7"], team: []}
  ramped:
    bucket_by: app
    inside: 1
    outside: 0
    ramp:
      - {at: 2020-01-01T00:00Z, percent: 1}
      - {at: 2021-01-01T00:00+01:00, percent: 40}
      - {at: 2999-01-01T00:00Z, percent: 90}
  shades:
    bucket_by: app
    variants:
      light: {weight: 12.345, value: "#eee"}
      middle: {weight: 30, value: "#999", always: {org: ["7"]}}
      dark: {weight: 57.655, value: "#111", always: {app: [app-1]}}
"""
PLAIN = "{bucket_by: app, percent: 12"
SALTED = "{salt: b, bucket_by: app, percent: 12"
KINDS = {bool: "boolean", int: "integer", str: "string"}


@pytest.fixture
def flags() -> Flags:
    return Flags.parse(TEXT)


@pytest.fixture
def flagd(flags: Flags, tmp_path: Path) -> Iterator[FlagdProvider]:
    path = tmp_path / "flags.flagd.json"
    path.write_text(json.dumps(to_flagd(flags.values())))
    provider = FlagdProvider(
        resolver_type=ResolverType.FILE, offline_flag_source_path=str(path), deadline_ms=50
    )
    provider.initialize(EvaluationContext())
    yield provider
    provider.shutdown()


def ask(provider: Any, flags: Flags, key: str, context: EvaluationContext) -> tuple[Any, Any]:
    """Value and variant, as flagd's provider gives them."""
    value = flags[key].outside
    found = getattr(provider, f"resolve_{KINDS[type(value)]}_details")(key, value, context)
    assert type(found.value) is type(value)
    return found.value, found.variant


@pytest.mark.parametrize(
    ("key", "first", "many"), [("deploy-retries", "inside", 100_000), ("shades", "light", 20_000)]
)
def test_a_hundred_thousand_units_get_the_same_answer(
    key: str, first: str, many: int, flags: Flags, flagd: FlagdProvider
) -> None:
    count = 0
    decide = flags.decider(key)
    for number in range(many):
        unit = f"app-{number}"
        decision = decide(unit)
        found = ask(flagd, flags, key, EvaluationContext(unit))
        assert found == (decision.value, decision.variant), unit
        count += decision.variant == first
    assert 0.12 * many < count < 0.13 * many


@pytest.mark.parametrize("key", Flags.parse(TEXT))
def test_every_kind_of_flag_gives_the_same_answer(
    key: str, flags: Flags, flagd: FlagdProvider
) -> None:
    for number in range(250):
        unit = f"app-{number}"
        for org in ("acme", "evil", "other", "7", 7, None):
            others: dict[str, Any] = {"org": org} if org else {}
            by = flags[key].bucket_by
            decision = flags.evaluate(key, **{by: unit}, **others)
            expected = (decision.value, decision.variant)
            assert ask(flagd, flags, key, EvaluationContext(unit, others)) == expected, unit
            with_unit = EvaluationContext(unit, {by: unit, **others})
            assert ask(flagd, flags, key, with_unit) == expected, unit


def test_who_has_no_unit_gets_the_value_of_the_file(flags: Flags, flagd: FlagdProvider) -> None:
    for key in flags:
        decision = flags.evaluate(key)
        for nobody in (EvaluationContext(), EvaluationContext("")):
            expected = (decision.value, decision.variant)
            assert ask(flagd, flags, key, nobody) == expected, key
    acme = EvaluationContext(None, {"org": "acme"})
    assert ask(flagd, flags, "listed", acme) == ("new", "inside")


def test_a_unit_that_is_not_the_targeting_key_is_an_error_and_no_other_cohort(
    flags: Flags, flagd: FlagdProvider
) -> None:
    for context in (EvaluationContext("x", {"app": "y"}), EvaluationContext(None, {"app": "y"})):
        with pytest.raises(GeneralError) as caught:
            ask(flagd, flags, "deploy-retries", context)
        assert caught.value.error_code is ErrorCode.GENERAL
        assert "the unit must be given as the targeting key" in str(caught.value.error_message)


@given(keys, thresholds, units)
@example("a", 100_000, "x")
@example("deploy-retries", 5000, "x" * 300)
def test_any_key_percentage_and_unit_get_the_same_answer(
    key: str, threshold: int, unit: str
) -> None:
    exported = flag(threshold, key=key)
    core = FlagdCore()
    core.set_flags(json.dumps(to_flagd([exported])))
    decision = Flags.parse(
        f"{{version: 1, flags: {{{json.dumps(key)}: {{bucket_by: app, percent: "
        f"{threshold / 1000:.3f}, inside: 5, outside: 0}}}}}}"
    ).evaluate(key, app=unit)
    found = core.resolve_integer_value(key, -1, EvaluationContext(unit))
    assert (found.value, found.variant) == (decision.value, decision.variant)


@given(offset_s=st.integers(-2, 2), fraction=st.sampled_from([0.0, 0.25, 0.999]))
def test_a_ramp_steps_at_the_same_instant(offset_s: int, fraction: float) -> None:
    at = datetime(2027, 3, 1, 9, tzinfo=UTC)
    text = (
        "version: 1\nflags:\n  a: {bucket_by: app, inside: 1, outside: 0, ramp: "
        "[{at: '2027-03-01T10:00+01:00', percent: 100}]}\n"
    )
    flags = Flags.parse(text)
    now = at + timedelta(seconds=offset_s + fraction)
    core = FlagdCore()
    core.set_flags(json.dumps(to_flagd(flags.values())))
    clock = import_module("openfeature.contrib.tools.flagd.core.targeting.targeting")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clock, "time", SimpleNamespace(time=now.timestamp))
        found = core.resolve_integer_value("a", -1, EvaluationContext("x"))
    assert found.value == flags.evaluate_at(now, "a", {"app": "x"}).value


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ("{bucket_by: app, percent: 12", "{salt: b, bucket_by: app, percent: 12"),
            "its salt is b",
        ),
        (("bucket_by: app, percent: 12", "bucket_by: a.b, percent: 12"), "takes a.b for a path"),
        (("always_inside: {app", "always_inside: {'0': [x], app"), "takes 0 for a path"),
        (("2020-01-01T00:00Z", "2020-01-01T00:00:00.5Z"), "its ramp has a step within a second"),
    ],
)
def test_what_cannot_be_expressed_is_refused_with_the_reason(
    change: tuple[str, str], said: str
) -> None:
    assert change[0] in TEXT
    with pytest.raises(ExportRefused) as caught:
        to_flagd(Flags.parse(TEXT.replace(*change, 1)).values())
    assert said in caught.value.message
    assert caught.value.hint


def test_all_refusals_are_told_at_once() -> None:
    text = TEXT.replace(PLAIN, SALTED).replace("2020-01-01T00:00Z", "2020-01-01T00:00:00.5Z")
    with pytest.raises(ExportRefused) as caught:
        to_flagd(Flags.parse(text).values())
    assert "for deploy-retries (its salt is b" in caught.value.message
    assert ", ramped (its ramp has" in caught.value.message


OLDER = """\
version: 1
flags:
  two: {bucketing: flagd-2, bucket_by: app, percent: 37.125, inside: 5, outside: 0}
  salted: {bucketing: flagd-2, salt: other, bucket_by: app, percent: 37.125, inside: 5, outside: 0}
  three: {bucket_by: app, percent: 37.125, inside: 5, outside: 0}
  several:
    bucketing: flagd-2
    bucket_by: app
    variants:
      small: {weight: 12.5, value: 1}
      middle: {weight: 0.125, value: 2}
      large: {weight: 37.125, value: 3, always: {app: [app-7]}}
      none: {weight: 50.25, value: 0}
  "off": {enabled: false, bucketing: flagd-2, bucket_by: app, percent: 100, inside: 5, outside: 0}
  everybody: {bucketing: flagd-2, bucket_by: app, percent: 100, inside: 5, outside: 0}
"""
MANY = [f"app-{number}" for number in range(100_000)]


def asked_as_a_process(
    command: list[str], directory: Path, tmp_path: Path, key: str, units: list[str] = MANY
) -> list[str]:
    """The variant of each unit, as another evaluator says from our definition."""
    path = tmp_path / "flags.flagd.json"
    path.write_text(json.dumps(to_flagd(Flags.parse(OLDER).values())))
    done = subprocess.run(
        [*command, str(path), key],
        cwd=directory,
        input="".join(f"{unit}\n" for unit in units),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def ours(key: str, units: list[str] = MANY) -> list[str]:
    return [decision.variant for decision in map(Flags.parse(OLDER).decider(key), units)]


@pytest.mark.parametrize("key", ["two", "salted", "several"])
def test_the_javascript_provider_draws_the_second_generation_as_we_do(
    key: str, node_modules: Path, tmp_path: Path
) -> None:
    found = asked_as_a_process(["node", "flagd.mjs"], node_modules, tmp_path, key)
    assert found == ours(key)
    assert 36_800 < found.count("large" if key == "several" else "inside") < 37_400


def test_the_javascript_provider_draws_the_third_generation_otherwise(
    node_modules: Path, tmp_path: Path
) -> None:
    """When this fails the provider has caught up: say so in DRAWN_BY and in the guide."""
    found = asked_as_a_process(["node", "flagd.mjs"], node_modules, tmp_path, "three")
    both = sum(pair == ("inside", "inside") for pair in zip(found, ours("three"), strict=True))
    assert 13_000 < both < 14_500, "as many as chance would have it"


def test_the_javascript_provider_hashes_what_is_not_ascii_in_a_way_of_its_own(
    node_modules: Path, tmp_path: Path
) -> None:
    """It mixes UTF-16 code units where flagd hashes UTF-8, and we do as flagd does."""
    units = [f"ünit-{number}" for number in range(2000)]
    found = asked_as_a_process(["node", "flagd.mjs"], node_modules, tmp_path, "two", units)
    assert found != ours("two", units)


@pytest.mark.parametrize("key", ["off", "everybody", "two", "several"])
def test_the_javascript_provider_has_the_files_value_for_who_has_no_unit(
    key: str, node_modules: Path, tmp_path: Path
) -> None:
    nobody_and_one = ["", "app-1"]
    found = asked_as_a_process(["node", "flagd.mjs"], node_modules, tmp_path, key, nobody_and_one)
    assert found == ours(key, nobody_and_one)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("key", ["off", "everybody", "two", "several"])
def test_flagd_itself_has_the_files_value_for_who_has_no_unit(
    key: str, go_clients: Path, tmp_path: Path
) -> None:
    nobody_and_one = ["", "app-1"]
    command = [str(go_clients / "flagd")]
    found = asked_as_a_process(command, go_clients, tmp_path, key, nobody_and_one)
    assert found == ours(key, nobody_and_one)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("key", ["two", "salted", "several"])
def test_flagd_itself_draws_the_second_generation_as_we_do(
    key: str, go_clients: Path, tmp_path: Path
) -> None:
    units = [*MANY, *(f"ünit-{number}" for number in range(2000))]
    found = asked_as_a_process([str(go_clients / "flagd")], go_clients, tmp_path, key, units)
    assert found == ours(key, units)


def test_the_guide_names_the_providers_that_export_names() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "openfeature.md").read_text()
    for generation, providers in DRAWN_BY.items():
        assert generation in guide
        for provider in providers.split(" and "):
            name, version, *_ = provider.removeprefix("flagd ").split()
            assert f"{name}" in guide
            assert version in guide


def rollout(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rollout", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def test_as_a_command_it_writes_the_definition_or_says_why_not(tmp_path: Path) -> None:
    file = tmp_path / "flags.yaml"
    file.write_text(TEXT)
    done = rollout("export", "--to", "flagd", cwd=tmp_path)
    assert done.returncode == 0
    told = "7 flags of flagd-3 (deploy-retries, nobody, everybody, off, listed, ramped, shades)"
    by = DRAWN_BY["flagd-3"]
    assert done.stderr == f"Note: {told}: of those tried, drawn so by {by}\n"
    assert json.loads(done.stdout) == to_flagd(Flags.parse(TEXT).values())
    file.write_text(TEXT.replace(PLAIN, SALTED))
    done = rollout("export", "--to", "flagd", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(
        "Error: flagd cannot give every unit the same answer for deploy-retries (its salt is b, "
    )
    done = rollout("export", "--to", "flagd", "listed", "off", cwd=tmp_path)
    assert list(json.loads(done.stdout)["flags"]) == ["listed", "off"]
    assert rollout("export", "--to", "flagd", "missing", cwd=tmp_path).returncode == 1
    assert rollout("export", "--to", "other", cwd=tmp_path).returncode == 2
    assert rollout("export", cwd=tmp_path).returncode == 2
