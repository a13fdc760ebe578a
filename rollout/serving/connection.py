"""One client's connection: uvicorn's, with bounds of time, and answers that leave whole."""

from __future__ import annotations

import asyncio
from math import inf
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

REQUEST_TIMEOUT_S = 10.0


class Connection(HttpToolsProtocol):
    """uvicorn's, with a time in which a request must be here: the first one once a client is
    connected, and each once it has begun. uvicorn bounds only the time between two.

    One timer looks after all of these, uvicorn's included: two timers for each request cost
    as much as deciding what it asks for.
    """

    _due_s = inf
    _timer: asyncio.TimerHandle

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # uvicorn's
        super().connection_made(cast(asyncio.Transport, _Whole(transport, self.loop)))
        self._close_after(REQUEST_TIMEOUT_S)
        self._look()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self.cycle is not None:
            self._close_after(REQUEST_TIMEOUT_S)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._close_after(self.timeout_keep_alive if self.cycle.response_complete else inf)

    def on_response_complete(self) -> None:
        if self.pipeline:
            super().on_response_complete()
            return
        self.flow.resume_reading()
        if self._due_s == inf:  # else a request is on its way
            self._close_after(self.timeout_keep_alive)

    def connection_lost(self, exc: Exception | None) -> None:
        self._timer.cancel()
        super().connection_lost(exc)

    def _close_after(self, wait_s: float) -> None:
        self._due_s = self.loop.time() + wait_s

    def _look(self) -> None:
        left_s = self._due_s - self.loop.time()
        if left_s <= 0:
            self.transport.close()
        else:  # in time for whatever is set meanwhile
            wait_s = min(left_s, REQUEST_TIMEOUT_S, self.timeout_keep_alive)
            self._timer = self.loop.call_later(wait_s, self._look)


class _Whole:
    """A transport that sends what is written in one turn of the loop in one piece.

    uvicorn writes an answer's headers and its body one by one. As two segments they cost a
    fifth of the time that a request takes, more than deciding what it asks for.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        if parts and not self._transport.is_closing():
            self._transport.write(b"".join(parts))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
