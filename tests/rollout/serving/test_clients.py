"""`rollout serve`, asked by the real clients of several languages."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import (
    ErrorCode,
    FlagNotFoundError,
    GeneralError,
    OpenFeatureError,
    TargetingKeyMissingError,
    TypeMismatchError,
)

from rollout import Flags
from rollout.openfeature import RolloutProvider
from tests.rollout.serving.service import TEXT, Service, replace, running


def test_the_python_client_gets_what_the_library_says(file: Path) -> None:
    flags = Flags.load(file)
    with running("--file", str(file)) as service:
        provider = OFREPProvider(service.url)
        for number in range(100):
            unit = f"app-{number}"
            context = EvaluationContext(unit, {"org": "other"})
            found = provider.resolve_integer_details("deploy-retries", -1, context)
            decision = flags.evaluate("deploy-retries", app=unit)
            assert (found.value, found.variant, found.reason) == (
                decision.value,
                decision.variant,
                decision.reason,
            )
            assert found.flag_metadata["bucket"] == decision.bucket
        details = provider.resolve_string_details(
            "theme", "x", EvaluationContext("hello", {"org": "acme"})
        )
        assert (details.value, details.reason) == ("new", "TARGETING_MATCH")
        off = provider.resolve_boolean_details("fast", True, EvaluationContext("hello"))
        assert (off.value, off.variant, off.reason) == (False, "outside", "STATIC")
        hello = EvaluationContext("hello")
        with pytest.raises(FlagNotFoundError) as unknown:
            provider.resolve_integer_details("missing", -1, hello)
        assert unknown.value.error_message == "there is no flag missing"
        with pytest.raises(TypeMismatchError):
            provider.resolve_boolean_details("deploy-retries", True, hello)
        with pytest.raises(TargetingKeyMissingError) as missing:
            provider.resolve_integer_details("deploy-retries", -1, EvaluationContext())
        assert missing.value.error_message == "the context has no app"
        with pytest.raises(OpenFeatureError) as wrong:
            provider.resolve_integer_details(
                "deploy-retries", -1, EvaluationContext("x", {"app": 7})
            )
        assert wrong.value.error_code is ErrorCode.INVALID_CONTEXT
        provider.session.close()


WINS = """\
version: 1
flags:
  off-number: {enabled: false, bucket_by: app, percent: 50, inside: 5, outside: 0}
  off-text: {enabled: false, bucket_by: app, percent: 50, inside: new, outside: old}
  off-switch: {enabled: false, bucket_by: app, percent: 100, inside: true, outside: false}
  everybody: {bucket_by: app, percent: 100, inside: true, outside: false}
  nobody: {bucket_by: app, percent: 0, inside: true, outside: false}
  half: {bucket_by: app, percent: 50, inside: 5, outside: 0}
  float: {bucket_by: app, percent: 100, inside: 0.5, outside: 1}
  object: {bucket_by: app, percent: 100, inside: {show: true, list: [1]}, outside: {}}
  listed:
    bucket_by: app
    percent: 0
    inside: new
    outside: old
    always_inside: {org: ["7", "true"]}
  colour:
    bucket_by: app
    variants:
      red: {weight: 0, value: "#f00"}
      blue: {weight: 100, value: "#00f"}
      grey: {weight: 0, value: "#ccc"}
"""
ASKED: list[tuple[str, Any, dict[str, Any], Any, str]] = [
    ("off-number", 7, {"targetingKey": "hello"}, 0, ""),
    ("off-number", 7, {}, 0, ""),
    ("off-text", "mine", {"targetingKey": "hello"}, "old", ""),
    ("off-switch", True, {"targetingKey": "hello"}, False, ""),
    ("everybody", False, {}, True, ""),
    ("everybody", False, {"targetingKey": ""}, True, ""),
    ("nobody", True, {}, False, ""),
    ("half", 7, {}, 7, "TARGETING_KEY_MISSING"),
    ("half", 7, {"targetingKey": ""}, 7, "TARGETING_KEY_MISSING"),
    ("float", 0.25, {"targetingKey": "x"}, 0.5, ""),
    ("object", {"a": "b"}, {"targetingKey": "x"}, {"show": True, "list": [1]}, ""),
    ("colour", "?", {"targetingKey": "x"}, "#00f", ""),
    ("listed", "?", {"targetingKey": "x", "org": 7}, "new", ""),
    ("listed", "?", {"targetingKey": "x", "org": True}, "new", ""),
    ("listed", "?", {"targetingKey": "x", "org": 8}, "old", ""),
    ("listed", "?", {"targetingKey": "x", "org": ["7"]}, "?", "INVALID_CONTEXT"),
]
"""Flag, the program's default, which differs; context, and the value with its error."""


def by_process(command: list[str], cwd: Path) -> list[dict[str, Any]]:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def by_python(provider: Any) -> list[dict[str, Any]]:
    """What OpenFeature's Python client says with this provider."""
    kinds = {bool: "boolean", int: "integer", str: "string", float: "float", dict: "object"}
    api.set_provider_and_wait(provider)
    client, found = api.get_client(), []
    for flag, default, context, *_ in ASKED:
        others = {name: value for name, value in context.items() if name != "targetingKey"}
        who = EvaluationContext(context.get("targetingKey"), others)
        details = getattr(client, f"get_{kinds[type(default)]}_details")(flag, default, who)
        found.append({
            "value": details.value, "errorCode": details.error_code,
            "flagMetadata": details.flag_metadata,
        })  # fmt: skip
    api.shutdown()
    return found


def hold_to_the_file(found: list[dict[str, Any]]) -> None:
    for (flag, _, context, value, code), details in zip(ASKED, found, strict=True):
        assert details["value"] == value, (flag, context)
        assert (details.get("errorCode") or "") == code, (flag, context)
        if flag.startswith("off"):
            assert details["flagMetadata"]["off"] is True


@pytest.fixture
def wins(tmp_path: Path) -> Iterator[Service]:
    path = tmp_path / "wins.yaml"
    path.write_text(WINS)
    with running("--file", str(path)) as service:
        yield service


def test_the_value_in_the_file_wins_in_python_clients(wins: Service, tmp_path: Path) -> None:
    hold_to_the_file(by_python(RolloutProvider(tmp_path / "wins.yaml")))
    hold_to_the_file(by_python(OFREPProvider(wins.url)))


@pytest.mark.parametrize("kind", ["server", "web"])
def test_the_value_in_the_file_wins_in_javascript_clients(
    kind: str, wins: Service, node_modules: Path
) -> None:
    asks = json.dumps([ask[:3] for ask in ASKED])
    hold_to_the_file(by_process(["node", "asks.mjs", kind, wins.url, asks], node_modules))


@pytest.mark.timeout(600)
def test_the_value_in_the_file_wins_in_the_go_client(wins: Service, go_clients: Path) -> None:
    asks = [
        text
        for flag, default, context, *_ in ASKED
        for text in (flag, json.dumps(default), json.dumps(context))
    ]
    found = by_process([str(go_clients / "ofrep"), wins.url, *asks], go_clients)
    hold_to_the_file(found)


def test_the_python_client_understands_refusals(file: Path) -> None:
    with running("--file", str(file), "--token", "secret", "--rate", "0.01") as service:
        for headers, said in (
            ({}, "unauthorized"),
            ({"Authorization": "Bearer secret"}, "Rate limited, retry after: 100"),
        ):
            provider = OFREPProvider(service.url, headers_factory=lambda h=headers: h)  # type: ignore[misc]  # bound now
            with pytest.raises(OpenFeatureError) as caught:
                provider.resolve_integer_details("deploy-retries", -1, EvaluationContext("hello"))
            assert caught.value.error_message == said
            provider.session.close()
        with pytest.raises(GeneralError) as paused:
            provider.resolve_integer_details("deploy-retries", -1, EvaluationContext("hello"))
        assert "evaluation paused due to TooManyRequests" in str(paused.value.error_message)
        assert "secret" not in "".join(service.lines)


@pytest.mark.parametrize("program", ["server.mjs", "web.mjs"])
def test_the_javascript_clients_get_what_the_library_says(
    program: str, node_modules: Path, file: Path
) -> None:
    flags = Flags.load(file)
    contexts: list[dict[str, Any]] = [{"targetingKey": f"app-{number}"} for number in range(8)]
    contexts += [{"targetingKey": "x", "app": "app-7"}, {}]
    with running("--file", str(file), "--token", "secret") as service:
        done = subprocess.run(
            ["node", program, service.url, "secret", *map(json.dumps, contexts)],
            cwd=node_modules,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    *found, nobody, mismatched, missing = json.loads(done.stdout)
    for context, details in zip(contexts, found, strict=False):
        unit = context.get("app", context["targetingKey"])
        decision = flags.evaluate("deploy-retries", app=unit)
        assert (details["value"], details["variant"], details["reason"]) == (
            decision.value,
            decision.variant,
            decision.reason,
        )
        assert details["flagMetadata"]["bucket"] == decision.bucket
        assert details["flagMetadata"]["owner"] == "me"
    assert (nobody["value"], nobody["errorCode"]) == (-1, "TARGETING_KEY_MISSING")
    assert mismatched["value"] is True
    # The client for the web asks in the last context, which has no unit.
    expected = "TYPE_MISMATCH" if program == "server.mjs" else "TARGETING_KEY_MISSING"
    assert mismatched["errorCode"] == expected
    assert (missing["value"], missing["errorCode"]) == (-1, "FLAG_NOT_FOUND")


def test_the_python_client_sees_a_bump_with_its_next_request(file: Path) -> None:
    with running("--file", str(file)) as service:
        api.set_provider_and_wait(OFREPProvider(service.url))
        client, hello = api.get_client(), EvaluationContext("hello")
        assert client.get_integer_value("deploy-retries", -1, hello) == 5
        replace(file, TEXT.replace("percent: 50", "percent: 0", 1))
        service.said(f"{file} has changed: deploy-retries")
        assert client.get_integer_value("deploy-retries", -1, hello) == 0
        api.shutdown()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["server", "web"])
def test_the_javascript_clients_see_a_bump(kind: str, node_modules: Path, file: Path) -> None:
    with running("--file", str(file)) as service:
        command = ["node", "bump.mjs", kind, service.url]
        with subprocess.Popen(command, cwd=node_modules, stdout=subprocess.PIPE) as process:
            assert process.stdout
            try:
                assert process.stdout.readline() == b"5\n"
                replace(file, TEXT.replace("percent: 50", "percent: 0", 1))
                assert process.stdout.readline() == b"0\n"
            finally:
                process.kill()
