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
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rollout import targeting
from rollout.errors import UnknownFlag
from rollout.flags import Flags
from rollout.live import Live
from rollout.serving.limiter import Limiter
from rollout.wording import show

LARGEST_BODY_BYTES = 1 << 16
"""A context of more than 64 KiB is a mistake."""


class Refusal(Exception):
    """An answer that is not an evaluation, with its status and body."""

    def __init__(self, status: int, body: Mapping[str, Any], **headers: str) -> None:
        super().__init__(status)
        self.response = _json(body, status, headers)


def app(
    live: Live, *, token: str = "", rate_per_s: float = 0, origins: Iterable[str] = ()
) -> Starlette:
    """The ASGI application that evaluates the flags of `live`.

    With a `token` every evaluation must bear it, as `Authorization: Bearer` or
    `X-API-Key`. `rate_per_s` limits each client address; 0 does not. `origins` are
    the web sites whose pages may ask.
    """
    service = _Service(live, token, Limiter(rate_per_s) if rate_per_s > 0 else None)
    cors = Middleware(
        CORSMiddleware,
        allow_origins=list(origins),
        allow_methods=["POST"],
        allow_headers=["*"],
        expose_headers=["ETag", "Retry-After"],
    )
    flags = "/ofrep/v1/evaluate/flags"
    return Starlette(
        routes=[
            Route(flags, service.evaluate_all, methods=["POST"]),
            Route(flags + "/{key:path}", service.evaluate_one, methods=["POST"]),
            Route("/healthz", service.health, methods=["GET"]),
            Route("/readyz", service.readiness, methods=["GET"]),
        ],
        middleware=[cors] if origins else [],
        exception_handlers={Refusal: _refused, HTTPException: _failed, Exception: _broken},
    )


class _Service:
    def __init__(self, live: Live, token: str, limiter: Limiter | None) -> None:
        self._live = live
        self._token = token.encode()
        self._limiter = limiter

    async def evaluate_one(self, request: Request) -> Response:
        key = request.path_params["key"]
        context = await self._context(request, {"key": key})
        flags = self._live.state.flags
        try:
            found = _evaluation(flags, key, context)
        except UnknownFlag:
            return _json(_error("FLAG_NOT_FOUND", f"there is no flag {show(key)}", key=key), 404)
        return _json(found, 400 if "errorCode" in found else 200)

    async def evaluate_all(self, request: Request) -> Response:
        context = await self._context(request, {})
        flags = self._live.state.flags
        body = msgspec.json.encode({"flags": [_evaluation(flags, key, context) for key in flags]})
        etag = f'"{sha256(body).hexdigest()[:32]}"'
        if _matches(request.headers.get("if-none-match", ""), etag):
            return Response(status_code=304, headers={"ETag": etag})
        return Response(body, headers={"ETag": etag}, media_type="application/json")

    async def health(self, _: Request) -> Response:
        return _json({"status": "alive"})

    async def readiness(self, _: Request) -> Response:
        # A source that broke is told, but the flags from before still serve: a process
        # that called itself unready would take all of its kind with it.
        state = self._live.state
        body = {"status": "ready", "source": state.source, "flags": len(state.flags)}
        return _json(body | ({"problem": state.problem} if state.problem else {}))

    async def _context(self, request: Request, about: Mapping[str, str]) -> dict[str, Any]:
        """The context that the request gives; raises Refusal."""
        self._limit(request)
        self._authorize(request)
        try:
            body = msgspec.json.decode(await _body(request))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Refusal(400, _error("PARSE_ERROR", "the body is not JSON", **about)) from None
        context = body.get("context") if isinstance(body, dict) else None
        if not isinstance(context, dict):
            said = "the body must be an object with a context, which is an object"
            raise Refusal(400, _error("INVALID_CONTEXT", said, **about))
        return context

    def _limit(self, request: Request) -> None:
        if self._limiter is None or request.client is None:
            return
        if wait_s := self._limiter.wait_s(request.client.host, time.monotonic()):
            headers = {"Retry-After": str(math.ceil(wait_s))}
            raise Refusal(429, {"errorDetails": "too many requests"}, **headers)

    def _authorize(self, request: Request) -> None:
        if not self._token:
            return
        scheme, _, bearer = request.headers.get("authorization", "").partition(" ")
        given = bearer if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
        if not hmac.compare_digest(given.strip().encode("latin-1"), self._token):
            headers = {"WWW-Authenticate": "Bearer"}
            raise Refusal(401, {"errorDetails": "the token is missing or wrong"}, **headers)


def _evaluation(flags: Flags, key: str, context: Mapping[str, Any]) -> dict[str, Any]:
    """One flag's evaluationSuccess or evaluationFailure; raises UnknownFlag."""
    decision = targeting.evaluate(flags, key, context.get(targeting.TARGETING_KEY), context)
    if decision.error_code:
        return _error(decision.error_code, decision.why, key=key)
    return {
        "key": key,
        "value": decision.value,
        "reason": targeting.reason(decision),
        "variant": decision.variant,
        "metadata": targeting.metadata(flags, decision),
    }


def _error(code: str, details: str, **about: str) -> dict[str, str]:
    return {**about, "errorCode": code, "errorDetails": details}


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY_BYTES:
            said = f"the body has more than {LARGEST_BODY_BYTES:,} bytes"
            raise Refusal(413, {"errorDetails": said}, Connection="close")
    return bytes(body)


def _matches(header: str, etag: str) -> bool:
    """If-None-Match, which compares weakly (RFC 9110, 13.1.2)."""
    given = (part.strip().removeprefix("W/") for part in header.split(","))
    return any(part in (etag, "*") for part in given)


def _json(body: Mapping[str, Any], status: int = 200, headers: Any = None) -> Response:
    return Response(msgspec.json.encode(body), status, headers, "application/json")


async def _refused(_: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)  # noqa: S101 -- registered for this class alone
    return refusal.response


async def _failed(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 -- registered for this class alone
    return _json({"errorDetails": error.detail}, error.status_code, error.headers)


async def _broken(_: Request, __: Exception) -> Response:
    return _json({"errorDetails": "the server failed; its log says why"}, 500)
