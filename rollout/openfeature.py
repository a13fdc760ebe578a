"""A provider for OpenFeature's Python SDK: `pip install tidegate[openfeature]`.

    from openfeature import api
    from rollout.openfeature import RolloutProvider

    api.set_provider_and_wait(RolloutProvider("flags.yaml"))
    client = api.get_client()
    client.get_integer_details("deploy-retries", 0, EvaluationContext("hello"))

Evaluates in the process, and follows its source. An evaluation that cannot be made
gives the caller's default and an error code, as OpenFeature asks, where
`Flags.evaluate` gives the value outside. See docs/openfeature.md.
"""

# ruff: noqa: ARG002 -- the SDK gives every method its arguments
from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEventDetails
from openfeature.exception import (
    ErrorCode,
    FlagNotFoundError,
    InvalidContextError,
    OpenFeatureError,
    ParseError,
    ProviderNotReadyError,
    TargetingKeyMissingError,
    TypeMismatchError,
)
from openfeature.flag_evaluation import FlagResolutionDetails, FlagValueType, Reason
from openfeature.provider import AbstractProvider, Metadata

from rollout import targeting
from rollout.errors import BadFlagFile, RolloutError, UnknownFlag
from rollout.flag import Decision
from rollout.live import Live

Structure = Sequence[FlagValueType] | Mapping[str, FlagValueType]

_METADATA = Metadata(name="tidegate")  # the SDK asks for it with every evaluation
_NOT_INITIALIZED = (ProviderNotReadyError, "the provider is not initialized")
_TYPES: dict[type, str] = {
    bool: "a boolean", int: "an integer", float: "a float", str: "text", dict: "an object",
}  # fmt: skip
_REASONS = {ours: Reason(word) for ours, word in targeting.REASONS.items()}
_SHUTDOWN_S = 2.0
"""More than a look at an address can take."""


class RolloutProvider(AbstractProvider):
    """The flags of `spec`, as Flags.load takes it: a path, a URL, or nothing.

    `poll_s` is how long to wait between two looks at the source: 1 s for a file and
    30 s for a URL if not given. A source that changes is PROVIDER_CONFIGURATION_CHANGED,
    one that breaks PROVIDER_STALE while the flags from before serve, and one that is
    fixed PROVIDER_READY.
    """

    def __init__(
        self, spec: str | os.PathLike[str] | None = None, *, poll_s: float | None = None
    ) -> None:
        super().__init__()
        self._spec = spec
        self._poll_s = poll_s
        self._live: Live | None = None
        self._failure: tuple[type[ParseError | ProviderNotReadyError], str] = _NOT_INITIALIZED
        self._stop = threading.Event()
        self._watcher: threading.Thread | None = None

    def get_metadata(self) -> Metadata:
        return _METADATA

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Read the flags and begin to follow them.

        Raises ParseError or ProviderNotReadyError; the source is followed all the same,
        so that the provider becomes ready when it is fixed.
        """
        self.shutdown()
        self._stop = threading.Event()
        try:
            self._live = self._open()
        finally:
            self._watcher = threading.Thread(
                target=self._watch, args=[self._stop], name="tidegate-watcher", daemon=True
            )
            self._watcher.start()

    def shutdown(self) -> None:
        """Stop following the source. It can be initialized again."""
        self._stop.set()
        watcher, self._watcher = self._watcher, None
        if watcher is not None and watcher is not threading.current_thread():
            watcher.join(_SHUTDOWN_S)
        self._live = None
        self._failure = _NOT_INITIALIZED

    def resolve_boolean_details(
        self,
        flag_key: str,
        default_value: bool,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[bool]:
        return self._resolve(bool, flag_key, evaluation_context)

    def resolve_string_details(
        self,
        flag_key: str,
        default_value: str,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[str]:
        return self._resolve(str, flag_key, evaluation_context)

    def resolve_integer_details(
        self,
        flag_key: str,
        default_value: int,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[int]:
        return self._resolve(int, flag_key, evaluation_context)

    def resolve_float_details(
        self,
        flag_key: str,
        default_value: float,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[float]:
        return self._resolve(float, flag_key, evaluation_context)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Structure,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Structure]:
        return self._resolve(dict, flag_key, evaluation_context)

    def _resolve(
        self, kind: type, key: str, context: EvaluationContext | None
    ) -> FlagResolutionDetails[Any]:
        live = self._live
        if live is None:
            failed, message = self._failure
            raise failed(message)
        state = live.state
        unit, attributes = (context.targeting_key, context.attributes) if context else (None, {})
        try:
            decision = targeting.evaluate(state.flags, key, unit, attributes)
        except UnknownFlag as unknown:
            raise FlagNotFoundError(_sentence(unknown)) from None
        value, outcome = decision.value, decision.outcome
        if type(value) is not kind:  # isinstance would take a boolean for an integer
            raise _mismatch(key, value, _TYPES[kind])
        if outcome.error_code:
            raise _context_error(decision)
        if kind is dict:
            value = deepcopy(value)  # what it answers is the caller's to change
        metadata = targeting.metadata(decision)
        metadata["source"] = state.source
        # By position: as keywords they cost a fifth of a microsecond.
        return FlagResolutionDetails(
            value, None, None, _REASONS[outcome.reason], outcome.variant, metadata
        )

    def _open(self) -> Live:
        try:
            return Live(self._spec)
        except RolloutError as error:
            kind = ParseError if isinstance(error, BadFlagFile) else ProviderNotReadyError
            self._failure = kind, _sentence(error)
            raise kind(_sentence(error)) from None

    def _watch(self, stop: threading.Event) -> None:
        while not stop.wait(self._poll_s or (self._live.poll_s if self._live else 1.0)):
            live = self._live
            if live is None:
                self._retry(stop)
                continue
            news = live.refresh()
            if stop.is_set():
                return
            if news.broke:
                self.emit_provider_stale(ProviderEventDetails(message=news.broke))
            if news.mended:
                self.emit_provider_ready(
                    ProviderEventDetails(message="the source is readable again")
                )
            if news.changed:
                message = f"{live.state.source} changed"
                details = ProviderEventDetails(flags_changed=news.changed, message=message)
                self.emit_provider_configuration_changed(details)

    def _retry(self, stop: threading.Event) -> None:
        try:
            live = self._open()
        except OpenFeatureError:
            return
        if not stop.is_set():
            self._live = live
            details = ProviderEventDetails(message="the source is readable again")
            self.emit_provider_ready(details)


def _context_error(decision: Decision) -> OpenFeatureError:
    if decision.error_code == ErrorCode.TARGETING_KEY_MISSING:
        return TargetingKeyMissingError(
            f"{decision.why}, and there is no targeting key in its place"
        )
    return InvalidContextError(decision.why)


def _mismatch(key: str, value: object, wanted: str) -> TypeMismatchError:
    return TypeMismatchError(f"{key} is {_TYPES[type(value)]}, not {wanted}")


def _sentence(error: RolloutError) -> str:
    return f"{error.message}; {error.hint}" if error.hint else error.message
