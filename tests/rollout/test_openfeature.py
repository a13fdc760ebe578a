"""The provider for OpenFeature's Python SDK, asked through the SDK.

The specification's own scenarios are in test_openfeature_scenarios.py. Values are asserted
with their details: the SDK hides a provider's errors behind defaults.
"""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import EventDetails, ProviderEvent
from openfeature.exception import ErrorCode, OpenFeatureError, ProviderNotReadyError
from openfeature.flag_evaluation import FlagEvaluationDetails
from openfeature.provider import ProviderStatus

from rollout import Flags
from rollout.openfeature import RolloutProvider
from tests.rollout.servers import response, saying, serving
from tests.rollout.strategies import units

TEXT = """\
version: 1
flags:
  boolean-flag: {bucket_by: app, percent: 100, inside: true, outside: false}
  string-flag: {bucket_by: app, percent: 100, inside: hi, outside: bye}
  integer-flag: {bucket_by: app, percent: 100, inside: 10, outside: 1}
  boolean-zero-flag: {bucket_by: app, percent: 0, inside: true, outside: false}
  string-zero-flag: {bucket_by: app, percent: 0, inside: hi, outside: ""}
  integer-zero-flag: {bucket_by: app, percent: 0, inside: 1, outside: 0}
  targeted-flag:
    bucket_by: app
    percent: 0
    inside: INTERNAL
    outside: EXTERNAL
    always_inside: {email: [ballmer@macrosoft.com]}
  disabled-flag: {bucket_by: app, percent: 100, inside: 1, outside: 0, enabled: false}
  metadata-flag:
    description: Says more.
    owner: release-engineering
    expires: 2027-03-31
    bucket_by: app
    percent: 12.5
    inside: true
    outside: false
  deploy-retries: {bucket_by: app, percent: 5, inside: 5, outside: 0}
  float-flag: {bucket_by: app, percent: 100, inside: 0.5, outside: 1}
  object-flag: {bucket_by: app, percent: 100, inside: {show: true, list: [1]}, outside: {}}
  colour-flag:
    bucket_by: app
    variants:
      red: {weight: 0, value: "#f00", always: {email: [red@example.org]}}
      blue: {weight: 100, value: "#00f"}
      grey: {weight: 0, value: "#ccc"}
"""
HELLO = EvaluationContext("hello")
DEFAULTS: dict[str, Any] = {
    "boolean": True,
    "string": "uh-oh",
    "integer": 13,
    "float": 0.1,
    "object": {"a": 1},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "flags.yaml"
    path.write_text(TEXT)
    return path


@pytest.fixture
def client(file: Path) -> Iterator[OpenFeatureClient]:
    api.set_provider_and_wait(RolloutProvider(file, poll_s=0.02))
    yield api.get_client()
    api.shutdown()
    assert no_watcher_is_left()


def no_watcher_is_left() -> bool:
    return all(thread.name != "tidegate-watcher" for thread in threading.enumerate())


def until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def details(
    client: OpenFeatureClient, kind: str, key: str, context: EvaluationContext | None = HELLO
) -> FlagEvaluationDetails[Any]:
    """The details, which are the same when they are asked for asynchronously."""
    default = DEFAULTS[kind]
    found = getattr(client, f"get_{kind}_details")(key, default, context)
    later = getattr(client, f"get_{kind}_details_async")(key, default, context)
    assert asyncio.run(later) == found
    assert isinstance(found, FlagEvaluationDetails)
    assert found.flag_key == key
    return found


def refused(found: FlagEvaluationDetails[Any], kind: str) -> ErrorCode | None:
    """The error code of an evaluation that gave the caller's default."""
    assert (found.value, found.variant, found.reason) == (DEFAULTS[kind], None, "ERROR")
    assert found.error_message
    return found.error_code


@pytest.mark.parametrize(
    ("kind", "key", "expected"),
    [
        ("boolean", "boolean-flag", (True, "inside", "SPLIT")),
        ("string", "string-flag", ("hi", "inside", "SPLIT")),
        ("integer", "integer-flag", (10, "inside", "SPLIT")),
        ("boolean", "boolean-zero-flag", (False, "outside", "SPLIT")),
        ("string", "string-zero-flag", ("", "outside", "SPLIT")),
        ("integer", "integer-zero-flag", (0, "outside", "SPLIT")),
        ("string", "targeted-flag", ("EXTERNAL", "outside", "SPLIT")),
        ("integer", "disabled-flag", (0, "outside", "STATIC")),
        ("integer", "deploy-retries", (0, "outside", "SPLIT")),
        ("float", "float-flag", (0.5, "inside", "SPLIT")),
        ("object", "object-flag", ({"show": True, "list": [1]}, "inside", "SPLIT")),
        ("string", "colour-flag", ("#00f", "blue", "SPLIT")),
    ],
)
def test_value_variant_and_reason(
    kind: str, key: str, expected: tuple[Any, str, str], client: OpenFeatureClient
) -> None:
    found = details(client, kind, key)
    assert (found.value, found.variant, found.reason) == expected
    assert (found.error_code, found.error_message) == (None, None)
    assert type(found.value) is type(expected[0])
    assert getattr(client, f"get_{kind}_value")(key, DEFAULTS[kind], HELLO) == expected[0]


@pytest.mark.parametrize("kind", DEFAULTS)
def test_a_flag_that_is_not_there(kind: str, client: OpenFeatureClient) -> None:
    assert refused(details(client, kind, "missing-flag"), kind) is ErrorCode.FLAG_NOT_FOUND


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        *[(kind, "boolean-flag") for kind in DEFAULTS if kind != "boolean"],
        *[(kind, "string-flag") for kind in DEFAULTS if kind != "string"],
        *[(kind, "integer-flag") for kind in DEFAULTS if kind != "integer"],
        *[(kind, "float-flag") for kind in DEFAULTS if kind != "float"],
        *[(kind, "object-flag") for kind in DEFAULTS if kind != "object"],
    ],
)
def test_a_flag_of_another_type(kind: str, key: str, client: OpenFeatureClient) -> None:
    for context in (HELLO, None):
        assert refused(details(client, kind, key, context), kind) is ErrorCode.TYPE_MISMATCH


def test_an_object_is_the_callers_to_change(client: OpenFeatureClient) -> None:
    found: Any = details(client, "object", "object-flag").value
    found["list"].append(2)
    assert details(client, "object", "object-flag").value == {"show": True, "list": [1]}


def test_a_list_of_a_variant_gives_that_one(client: OpenFeatureClient) -> None:
    context = EvaluationContext("hello", {"email": "red@example.org"})
    found = details(client, "string", "colour-flag", context)
    assert (found.value, found.variant, found.reason) == ("#f00", "red", "TARGETING_MATCH")


def test_a_context_that_matches_a_list(client: OpenFeatureClient) -> None:
    context = EvaluationContext("hello", {"email": "ballmer@macrosoft.com", "age": 65})
    found = details(client, "string", "targeted-flag", context)
    assert (found.value, found.variant, found.reason) == ("INTERNAL", "inside", "TARGETING_MATCH")
    # A list needs no unit.
    found = details(client, "string", "targeted-flag", EvaluationContext(None, context.attributes))
    assert (found.value, found.reason) == ("INTERNAL", "TARGETING_MATCH")


@pytest.mark.parametrize(
    ("context", "code", "said"),
    [
        (
            None,
            ErrorCode.TARGETING_KEY_MISSING,
            "the context has no app, and there",
        ),
        (EvaluationContext(), ErrorCode.TARGETING_KEY_MISSING, "the context has no app"),
        (EvaluationContext(""), ErrorCode.TARGETING_KEY_MISSING, "the context has no app"),
        (
            EvaluationContext("", {"app": ""}),
            ErrorCode.TARGETING_KEY_MISSING,
            "the context has no app",
        ),
        (
            EvaluationContext(None, {"app": None}),  # type: ignore[dict-item]  # as programs do
            ErrorCode.TARGETING_KEY_MISSING,
            "the context has no app",
        ),
        (EvaluationContext("x", {"app": 7}), ErrorCode.INVALID_CONTEXT, "app is not text but int"),
        (EvaluationContext("\udcff"), ErrorCode.INVALID_CONTEXT, "not text that UTF-8 can carry"),
    ],
)
def test_a_context_without_a_unit(
    context: EvaluationContext | None, code: ErrorCode, said: str, client: OpenFeatureClient
) -> None:
    found = details(client, "integer", "deploy-retries", context)
    assert refused(found, "integer") is code
    assert said in str(found.error_message)


def test_the_unit_is_the_attribute_of_bucket_by_or_else_the_targeting_key(file: Path) -> None:
    provider = RolloutProvider(file)
    provider.initialize(EvaluationContext())
    flags = Flags.parse(TEXT)

    @given(unit=units)
    def holds(unit: str) -> None:
        expected = flags.evaluate("deploy-retries", app=unit)
        for context in (
            EvaluationContext(unit),
            EvaluationContext(None, {"app": unit}),
            EvaluationContext("another", {"app": unit}),
        ):
            found = provider.resolve_integer_details("deploy-retries", -1, context)
            assert (found.value, found.variant, found.reason) == (
                expected.value,
                expected.variant,
                expected.reason,
            )
            assert found.flag_metadata["bucket"] == expected.bucket

    holds()
    provider.shutdown()


def test_contexts_of_the_program_are_merged(client: OpenFeatureClient) -> None:
    api.set_evaluation_context(EvaluationContext("hello", {"email": "ballmer@macrosoft.com"}))
    assert details(client, "string", "targeted-flag", None).reason == "TARGETING_MATCH"
    found = details(client, "integer", "deploy-retries", EvaluationContext(None, {"app": "x"}))
    assert found.flag_metadata["bucket"] != 6343
    assert api.get_evaluation_context().attributes == {"email": "ballmer@macrosoft.com"}


def test_metadata_say_more_of_the_flag_and_of_the_source(
    client: OpenFeatureClient, file: Path
) -> None:
    assert details(client, "boolean", "metadata-flag").flag_metadata == {
        "bucket": Flags.parse(TEXT).evaluate("metadata-flag", app="hello").bucket,
        "bucketBy": "app",
        "percent": 12.5,
        "owner": "release-engineering",
        "expires": "2027-03-31",
        "description": "Says more.",
        "source": str(file),
    }
    assert api.get_provider_metadata().name == "tidegate"


def test_metadata_say_how_old_the_copy_of_an_address_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with serving(saying(response(TEXT.encode()))) as server:
        provider = RolloutProvider(server.url)
        try:
            provider.initialize(EvaluationContext())
            found = provider.resolve_boolean_details("boolean-flag", False, HELLO)
        finally:
            provider.shutdown()
        assert found.flag_metadata["source"] == f"{server.url} as of now"


def test_before_it_is_initialized_and_after_it_is_shut_down(file: Path) -> None:
    provider = RolloutProvider(file)
    for _ in range(2):
        with pytest.raises(ProviderNotReadyError) as caught:
            provider.resolve_boolean_details("boolean-flag", False, HELLO)
        assert caught.value.error_message == "the provider is not initialized"
        provider.initialize(EvaluationContext())
        assert provider.resolve_boolean_details("boolean-flag", False, HELLO).value is True
        provider.shutdown()
        provider.shutdown()
    assert no_watcher_is_left()


class Heard:
    """What the SDK has told of a provider."""

    def __init__(self) -> None:
        self.events: list[tuple[str, EventDetails]] = []
        for event in ProviderEvent:
            api.add_handler(event, self._handler(event))

    def _handler(self, event: ProviderEvent) -> Callable[[EventDetails], None]:
        return lambda told: self.events.append((event.value.removeprefix("PROVIDER_"), told))

    def wait(self, name: str) -> EventDetails:
        until(lambda: name in [event for event, _ in self.events])
        found = next(told for event, told in self.events if event == name)
        self.events.clear()
        return found


def test_a_change_of_the_file_is_told(client: OpenFeatureClient, file: Path) -> None:
    heard = Heard()
    heard.wait("READY")
    file.write_text(TEXT.replace("percent: 5,", "percent: 100,"))
    told = heard.wait("CONFIGURATION_CHANGED")
    assert told.flags_changed == ["deploy-retries"]
    assert (told.provider_name, told.message) == ("tidegate", f"{file} changed")
    assert details(client, "integer", "deploy-retries").value == 5


def test_a_file_that_breaks_is_stale_and_serves_on(client: OpenFeatureClient, file: Path) -> None:
    heard = Heard()
    heard.wait("READY")
    file.write_text(TEXT.replace("percent: 5,", "percent: 101,"))
    assert "percent: 101 is over 100" in str(heard.wait("STALE").message)
    assert client.get_provider_status() is ProviderStatus.STALE
    assert details(client, "integer", "deploy-retries").error_code is None
    file.write_text(TEXT)
    heard.wait("READY")
    assert client.get_provider_status() is ProviderStatus.READY


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("version: 2\n", ErrorCode.PARSE_ERROR, "flags is missing (and 1 more)"),
        (None, ErrorCode.PROVIDER_NOT_READY, "does not exist"),
    ],
)
def test_a_source_that_is_broken_at_first_and_then_mended(
    text: str | None, code: ErrorCode, said: str, file: Path
) -> None:
    file.unlink() if text is None else file.write_text(text)
    try:
        heard = Heard()
        with pytest.raises(OpenFeatureError) as caught:
            api.set_provider_and_wait(RolloutProvider(file, poll_s=0.02))
        assert caught.value.error_code is code
        client = api.get_client()
        assert client.get_provider_status() is ProviderStatus.ERROR
        assert heard.wait("ERROR").error_code is code
        found = details(client, "boolean", "boolean-flag")
        assert refused(found, "boolean") is code
        assert said in str(found.error_message)
        file.write_text(TEXT)
        heard.wait("READY")
        assert details(client, "boolean", "boolean-flag").error_code is None
    finally:
        api.shutdown()


def test_threads_may_share_it_while_the_file_changes(client: OpenFeatureClient, file: Path) -> None:
    over = threading.Event()
    seen: list[object] = []

    def ask() -> None:
        while not over.is_set():
            found = client.get_integer_details("deploy-retries", -1, HELLO)
            seen.append((found.value, found.flag_metadata["percent"], found.error_code))

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    for percent in (100, 5, 100):
        file.with_suffix(".new").write_text(TEXT.replace("percent: 5,", f"percent: {percent},"))
        file.with_suffix(".new").replace(file)
        until(lambda wanted=percent: seen[-1:] and seen[-1][1] == wanted)  # type: ignore[misc,index]  # bound now
    over.set()
    for thread in threads:
        thread.join()
    assert set(seen) == {(0, 5.0, None), (5, 100.0, None)}


def test_what_it_answers_is_the_callers_to_change(client: OpenFeatureClient) -> None:
    context = EvaluationContext("hello", {"email": "x"})
    found = details(client, "boolean", "metadata-flag", context)
    assert dataclasses.asdict(context) == {"targeting_key": "hello", "attributes": {"email": "x"}}
    found.flag_metadata.clear()  # type: ignore[attr-defined]  # a mapping, to be read
    assert details(client, "boolean", "metadata-flag", context).flag_metadata
