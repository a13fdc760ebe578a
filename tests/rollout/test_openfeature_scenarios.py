"""The evaluation scenarios of OpenFeature's specification, for every type, on our provider.

What they ask (github.com/open-feature/spec, specification/assets/gherkin, evaluation_v2) is
asked here of flags that have the same variants and values. Where ours answers in another
word it is said: a flag has no default variant beside its own, so that their DEFAULT is our
STATIC, and a flag that is off is worth what its file says, STATIC and not DISABLED. Nothing
is ever CACHED, and a provider of ours is never fatal, since its source may be mended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode, OpenFeatureError
from openfeature.flag_evaluation import FlagEvaluationDetails
from openfeature.provider import ProviderStatus

from rollout.openfeature import RolloutProvider

TEXT = """\
version: 1
flags:
  boolean-flag: {bucket_by: app, variants: {"on": {weight: 100, value: true},
    "off": {weight: 0, value: false}}}
  string-flag: {bucket_by: app, variants: {greeting: {weight: 100, value: hi},
    parting: {weight: 0, value: bye}}}
  integer-flag: {bucket_by: app, variants: {one: {weight: 0, value: 1},
    ten: {weight: 100, value: 10}}}
  float-flag: {bucket_by: app, variants: {tenth: {weight: 0, value: 0.1},
    half: {weight: 100, value: 0.5}}}
  object-flag: {bucket_by: app, variants: {empty: {weight: 0, value: {}},
    template: {weight: 100, value: {images: true, title: Pictures, perPage: 100}}}}
  boolean-zero-flag: {bucket_by: app, variants: {non-zero: {weight: 0, value: true},
    zero: {weight: 100, value: false, always: {email: [ballmer@macrosoft.com]}}}}
  string-zero-flag: {bucket_by: app, variants: {non-zero: {weight: 0, value: str},
    zero: {weight: 100, value: "", always: {email: [ballmer@macrosoft.com]}}}}
  integer-zero-flag: {bucket_by: app, variants: {non-zero: {weight: 0, value: 1},
    zero: {weight: 100, value: 0, always: {email: [ballmer@macrosoft.com]}}}}
  float-zero-flag: {bucket_by: app, variants: {non-zero: {weight: 0, value: 1.0},
    zero: {weight: 100, value: 0.0, always: {email: [ballmer@macrosoft.com]}}}}
  object-zero-flag: {bucket_by: app, variants: {non-zero: {weight: 0, value: {a: 1}},
    zero: {weight: 100, value: {}, always: {email: [ballmer@macrosoft.com]}}}}
  context-aware: {bucket_by: app, variants: {external: {weight: 100, value: EXTERNAL},
    internal: {weight: 0, value: INTERNAL, always: {customer: ["false"]}}}}
  boolean-disabled-flag: {enabled: false, bucket_by: app, percent: 100, inside: true,
    outside: false}
  string-disabled-flag: {enabled: false, bucket_by: app, percent: 100, inside: new, outside: old}
  metadata-flag: {bucket_by: app, percent: 12.5, inside: true, outside: false, owner: me}
"""
VALUES: dict[str, tuple[Any, str]] = {
    "boolean": (True, "on"),
    "string": ("hi", "greeting"),
    "integer": (10, "ten"),
    "float": (0.5, "half"),
    "object": ({"images": True, "title": "Pictures", "perPage": 100}, "template"),
}
ZEROS: dict[str, Any] = {"boolean": False, "string": "", "integer": 0, "float": 0.0, "object": {}}
DEFAULTS: dict[str, Any] = {
    "boolean": True,
    "string": "mine",
    "integer": 7,
    "float": 0.7,
    "object": {"mine": 7},
}
BALLMER = {"email": "ballmer@macrosoft.com"}

every_type = pytest.mark.parametrize("kind", VALUES)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[OpenFeatureClient]:
    path = tmp_path / "flags.yaml"
    path.write_text(TEXT)
    api.set_provider_and_wait(RolloutProvider(path))
    yield api.get_client()
    api.shutdown()


def details(
    client: OpenFeatureClient, kind: str, key: str, attributes: dict[str, Any] | None = None
) -> FlagEvaluationDetails[Any]:
    """The details for nobody in particular, or for somebody with these attributes alone."""
    context = None if attributes is None else EvaluationContext(None, attributes)
    found = getattr(client, f"get_{kind}_details")(key, DEFAULTS[kind], context)
    assert isinstance(found, FlagEvaluationDetails)
    assert found.flag_key == key
    return found


def refused(found: FlagEvaluationDetails[Any], kind: str) -> ErrorCode | None:
    assert (found.value, found.reason) == (DEFAULTS[kind], "ERROR")
    assert found.error_message
    return found.error_code


@every_type
def test_values_are_resolved_with_complete_details(kind: str, client: OpenFeatureClient) -> None:
    value, variant = VALUES[kind]
    found = details(client, kind, f"{kind}-flag")
    assert (found.value, found.variant, found.reason) == (value, variant, "STATIC")
    assert type(found.value) is type(value)
    assert (found.error_code, found.error_message) == (None, None)
    assert getattr(client, f"get_{kind}_value")(f"{kind}-flag", DEFAULTS[kind]) == value


@every_type
@pytest.mark.parametrize("attributes", [None, {}, {"email": "ballmer@none.com"}, {"email": None}])
def test_zero_values_are_resolved_and_not_the_default(
    attributes: dict[str, Any] | None, kind: str, client: OpenFeatureClient
) -> None:
    found = details(client, kind, f"{kind}-zero-flag", attributes)
    assert (found.value, found.variant, found.reason) == (ZEROS[kind], "zero", "STATIC")
    assert type(found.value) is type(ZEROS[kind])


@every_type
def test_zero_values_are_resolved_by_targeting(kind: str, client: OpenFeatureClient) -> None:
    found = details(client, kind, f"{kind}-zero-flag", BALLMER)
    assert (found.value, found.variant, found.reason) == (ZEROS[kind], "zero", "TARGETING_MATCH")


def test_one_of_many_attributes_is_targeted(client: OpenFeatureClient) -> None:
    many = {**BALLMER, "role": "admin", "age": 65, "customer": False}
    found = details(client, "string", "context-aware", many)
    assert (found.value, found.reason) == ("INTERNAL", "TARGETING_MATCH")
    assert details(client, "string", "context-aware", {}).value == "EXTERNAL"


@every_type
def test_a_flag_that_is_not_there_is_not_found(kind: str, client: OpenFeatureClient) -> None:
    found = details(client, kind, "non-existent-flag")
    assert refused(found, kind) is ErrorCode.FLAG_NOT_FOUND
    assert "has no flag non-existent-flag" in str(found.error_message)


@pytest.mark.parametrize(
    ("kind", "other"), [(kind, other) for kind in VALUES for other in VALUES if kind != other]
)
def test_a_flag_of_another_type_is_a_mismatch(
    kind: str, other: str, client: OpenFeatureClient
) -> None:
    found = details(client, kind, f"{other}-flag")
    assert refused(found, kind) is ErrorCode.TYPE_MISMATCH


@pytest.mark.parametrize(("kind", "value"), [("boolean", False), ("string", "old")])
def test_a_flag_that_is_off_is_worth_what_its_file_says(
    kind: str, value: object, client: OpenFeatureClient
) -> None:
    found = details(client, kind, f"{kind}-disabled-flag")
    assert (found.value, found.reason, found.flag_metadata["off"]) == (value, "STATIC", True)


def test_metadata_have_the_types_that_the_specification_allows(client: OpenFeatureClient) -> None:
    context = EvaluationContext("hello", {})
    found = client.get_boolean_details("metadata-flag", True, context).flag_metadata
    assert {name: type(value) for name, value in found.items()} == {
        "bucketBy": str, "percent": float, "bucket": int, "owner": str, "source": str,
    }  # fmt: skip


@every_type
def test_a_provider_that_is_not_ready_gives_the_default(kind: str, tmp_path: Path) -> None:
    try:
        with pytest.raises(OpenFeatureError):
            api.set_provider_and_wait(RolloutProvider(tmp_path / "missing.yaml"))
        client = api.get_client()
        assert client.get_provider_status() is ProviderStatus.ERROR
        assert refused(details(client, kind, f"{kind}-flag"), kind) is ErrorCode.PROVIDER_NOT_READY
    finally:
        api.shutdown()


@every_type
def test_asked_asynchronously_the_answer_is_the_same(kind: str, client: OpenFeatureClient) -> None:
    context = EvaluationContext("hello", dict(BALLMER))
    ask = f"get_{kind}_details", (f"{kind}-flag", DEFAULTS[kind], context)
    now = getattr(client, ask[0])(*ask[1])
    assert asyncio.run(getattr(client, f"{ask[0]}_async")(*ask[1])) == now
    assert context.attributes == BALLMER
