"""The OpenFeature Remote Evaluation Protocol, version 1: flags for every language.

    POST /ofrep/v1/evaluate/flags/{key}   one flag, in the context of the request
    POST /ofrep/v1/evaluate/flags         all flags; ETag and If-None-Match
    GET  /healthz                         the process lives
    GET  /readyz                          what it serves, and what is wrong with the source

The shapes are those of the protocol's OpenAPI document, kept under tests/vectors.
Decides nothing itself, and does not know where the flags are from.
"""

from __future__ import annotations

import hmac
import math
import time
from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from rollout import targeting
from rollout.errors import UnknownFlag
from rollout.flags import Flags
from rollout.live import Live
from rollout.serving.limiter import Limiter
from rollout.wording import show

LARGEST_BODY_BYTES = 1 << 16
"""A context of more than 64 KiB is a mistake."""

_FLAGS = "/ofrep/v1/evaluate/flags"
_OF_JSON = (b"content-type", b"application/json")


class Answer(NamedTuple):
    """A status, a JSON body (or none) and further headers, their names in lower case."""

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Refusal(Exception):
    """An answer that is not an evaluation."""

    def __init__(self, status: int, body: Mapping[str, Any], **headers: str) -> None:
        super().__init__(status)
        named = ((k.replace("_", "-").encode(), v.encode()) for k, v in headers.items())
        self.answer = Answer(status, msgspec.json.encode(body), tuple(named))


class _Gone(Exception):
    """The client left before its request was whole."""


def app(
    live: Live,
    *,
    token: str = "",
    rate_per_s: float = 0,
    origins: Iterable[str] = (),
) -> ASGIApp:
    """The ASGI application that evaluates the flags of `live`.

    With a `token` every evaluation must bear it, as `Authorization: Bearer` or
    `X-API-Key`. `rate_per_s` limits each client address; 0 does not. `origins` are
    the web sites whose pages may ask.
    """
    service = _Service(live, token, Limiter(rate_per_s) if rate_per_s > 0 else None)
    if not (allowed := list(origins)):
        return service
    return CORSMiddleware(
        service,
        allow_origins=allowed,
        allow_methods=["POST"],
        allow_headers=["*"],
        expose_headers=["ETag", "Retry-After"],
    )


class _Service:
    """The application itself: no framework between the server and the answer, for its speed."""

    def __init__(self, live: Live, token: str, limiter: Limiter | None) -> None:
        self._live = live
        self._token = token.encode()
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(scope, receive)
        except Refusal as refusal:
            answer = refusal.answer
        except _Gone:
            return
        except Exception:
            failed = {"errorDetails": "the server failed; its log says why"}
            await _send(send, _json(failed, 500))
            raise
        await _send(send, answer)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        path, method = scope["path"], scope["method"]
        if path.startswith(_FLAGS):
            rest = path[len(_FLAGS) :]
            if rest[:1] in ("", "/"):
                _allow(method, "POST")
                return await self._evaluate(scope, receive, rest)
        elif path == "/healthz":
            _allow(method, "GET", "HEAD")
            return _json({"status": "alive"})
        elif path == "/readyz":
            _allow(method, "GET", "HEAD")
            return self._readiness()
        raise Refusal(404, {"errorDetails": "there is nothing here"})

    async def _evaluate(self, scope: Scope, receive: Receive, rest: str) -> Answer:
        about = {"key": rest[1:]} if rest else {}
        self._limit(scope)
        self._authorize(scope)
        context = _context(await _body(receive), about)
        flags = self._live.state.flags
        if not rest:
            return _all(flags, context, _header(scope, b"if-none-match").decode("latin-1"))
        try:
            found = _evaluation(flags, rest[1:], context)
        except UnknownFlag:
            said = f"there is no flag {show(rest[1:])}"
            return _json(_error("FLAG_NOT_FOUND", said, **about), 404)
        return _json(found, 400 if "errorCode" in found else 200)

    def _readiness(self) -> Answer:
        # A source that broke is told, but the flags from before still serve: a process
        # that called itself unready would take all of its kind with it.
        state = self._live.state
        body = {"status": "ready", "source": state.source, "flags": len(state.flags)}
        return _json(body | ({"problem": state.problem} if state.problem else {}))

    def _limit(self, scope: Scope) -> None:
        if self._limiter is None or not scope.get("client"):
            return
        if wait_s := self._limiter.wait_s(scope["client"][0], time.monotonic()):
            said = {"errorDetails": "too many requests"}
            raise Refusal(429, said, retry_after=str(math.ceil(wait_s)))

    def _authorize(self, scope: Scope) -> None:
        if not self._token:
            return
        scheme, _, bearer = _header(scope, b"authorization").partition(b" ")
        given = bearer if scheme.lower() == b"bearer" else _header(scope, b"x-api-key")
        if not hmac.compare_digest(given.strip(), self._token):
            said = {"errorDetails": "the token is missing or wrong"}
            raise Refusal(401, said, www_authenticate="Bearer")


def _header(scope: Scope, name: bytes) -> bytes:
    """The last one of this name, or nothing."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    return headers.get(name, b"")


def _allow(method: str, *allowed: str) -> None:
    if method not in allowed:
        said = {"errorDetails": f"{show(method)} is not allowed here"}
        raise Refusal(405, said, allow=", ".join(allowed))


def _context(body: bytes, about: Mapping[str, str]) -> dict[str, Any]:
    """The context that the request gives; raises Refusal."""
    try:
        given = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refusal(400, _error("PARSE_ERROR", "the body is not JSON", **about)) from None
    context = given.get("context") if isinstance(given, dict) else None
    if not isinstance(context, dict):
        said = "the body must be an object with a context, which is an object"
        raise Refusal(400, _error("INVALID_CONTEXT", said, **about))
    return context


def _all(flags: Flags, context: Mapping[str, Any], if_none_match: str) -> Answer:
    body = msgspec.json.encode({"flags": [_evaluation(flags, key, context) for key in flags]})
    etag = f'"{sha256(body).hexdigest()[:32]}"'
    headers = ((b"etag", etag.encode()),)
    if _matches(if_none_match, etag):
        return Answer(304, b"", headers)
    return Answer(200, body, headers)


def _evaluation(flags: Flags, key: str, context: Mapping[str, Any]) -> dict[str, Any]:
    """One flag's evaluationSuccess or evaluationFailure; raises UnknownFlag."""
    decision = targeting.evaluate(flags, key, context.get(targeting.TARGETING_KEY), context)
    outcome = decision.outcome
    if outcome.error_code:
        return _error(outcome.error_code, decision.why, key=key)
    return {
        "key": key,
        "value": decision.value,
        "reason": targeting.REASONS[outcome.reason],
        "variant": outcome.variant,
        "metadata": targeting.metadata(decision),
    }


def _error(code: str, details: str, **about: str) -> dict[str, str]:
    return {**about, "errorCode": code, "errorDetails": details}


async def _body(receive: Receive) -> bytes:
    """The whole body; raises Refusal and _Gone. How long it may take is the server's to say."""
    body = bytearray()
    while (message := await receive())["type"] == "http.request":
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY_BYTES:
            said = f"the body has more than {LARGEST_BODY_BYTES:,} bytes"
            raise Refusal(413, {"errorDetails": said}, connection="close")
        if not message.get("more_body"):
            return bytes(body)
    raise _Gone


def _matches(header: str, etag: str) -> bool:
    """If-None-Match, which compares weakly (RFC 9110, 13.1.2)."""
    given = (part.strip().removeprefix("W/") for part in header.split(","))
    return any(part in (etag, "*") for part in given)


def _json(body: Mapping[str, Any], status: int = 200) -> Answer:
    return Answer(status, msgspec.json.encode(body))


async def _send(send: Send, answer: Answer) -> None:
    status, body, headers = answer
    if status != 304:
        headers = (_OF_JSON, (b"content-length", b"%d" % len(body)), *headers)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
