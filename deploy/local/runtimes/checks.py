"""Real health checks: HTTP and TCP, asked over and over for as long as a machine runs.

2xx passes and redirects are not followed, as on the real platform. Until a check
has passed once it is asked more often than its interval, so that a machine that
boots quickly is seen to be healthy quickly.
"""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable

import anyio
import httpx

from deploy.local.config import Check
from deploy.local.runtime import Address, CheckStatus, Report, written

DEFAULT_INTERVAL_S = 10.0
DEFAULT_TIMEOUT_S = 2.0
LEAST_INTERVAL_S = 0.05
OUTPUT_LIMIT = 512  # characters
CONNECT_FAILED = "connect: "

Result = tuple[CheckStatus, str]
Ask = Callable[[float], Awaitable[Result]]
"""Asks the app once: takes the timeout in seconds, gives the result."""

_FIRST_DELAY_S = 0.1
_READ_LIMIT_BYTES = 64 * 1024


async def watch(check: Check, ask: Ask, report: Report) -> None:
    """Ask by the check's own rhythm, and report each result; endless."""
    wanted_s = DEFAULT_INTERVAL_S if check.interval_s is None else check.interval_s
    interval_s = max(wanted_s, LEAST_INTERVAL_S)
    timeout_s = check.timeout_s or DEFAULT_TIMEOUT_S
    await anyio.sleep(check.grace_period_s or 0.0)
    delay_s, has_passed = _FIRST_DELAY_S, False
    while True:
        status, output = await ask(timeout_s)
        report(status, output)
        has_passed = has_passed or status == "passing"
        await anyio.sleep(interval_s if has_passed else min(delay_s, interval_s))
        delay_s *= 2


async def probe(check: Check, address: Address, *, timeout_s: float) -> Result:
    """One question to the app; a timeout or a refused connection is critical.

    The output begins with CONNECT_FAILED where no connection came about.
    """
    try:
        with anyio.fail_after(timeout_s):
            if check.type == "http":
                return await _ask_http(check, address, timeout_s)
            async with await anyio.connect_tcp(*address):
                return "passing", "Success"
    except (TimeoutError, httpx.TimeoutException):
        return "critical", f"no answer within {timeout_s:g} s"
    except (OSError, httpx.HTTPError) as error:
        return "critical", _reason(error)
    except (httpx.InvalidURL, ValueError) as error:
        return "critical", f"the check itself is wrong: {error}"[:OUTPUT_LIMIT]


async def _ask_http(check: Check, address: Address, timeout_s: float) -> Result:
    scheme = "https" if check.protocol == "https" else "http"
    path = check.path or "/"
    url = f"{scheme}://{written(address)}{path if path.startswith('/') else '/' + path}"
    headers = [(h.name, value) for h in check.headers or () for value in h.values or ()]
    client = httpx.AsyncClient(trust_env=False, timeout=timeout_s, verify=_trust(check, scheme))
    method = (check.method or "GET").upper()
    async with client, client.stream(method, url, headers=headers) as answer:
        text = await _beginning(answer)
    if answer.is_success:
        return "passing", text
    return "critical", f"HTTP {answer.status_code}: {text}"[:OUTPUT_LIMIT]


async def _beginning(answer: httpx.Response) -> str:
    read = bytearray()
    async for chunk in answer.aiter_bytes():
        read += chunk
        if len(read) >= _READ_LIMIT_BYTES:
            break
    return read.decode(errors="replace")[:OUTPUT_LIMIT]


def _trust(check: Check, scheme: str) -> ssl.SSLContext | bool:
    """Certificates matter only over https; the check may say to skip them."""
    return scheme == "https" and not check.tls_skip_verify


def _reason(error: Exception) -> str:
    cause: BaseException = error
    while cause.__cause__ or cause.__context__:
        cause = cause.__cause__ or cause.__context__ or cause
    return f"{CONNECT_FAILED}{str(cause) or type(cause).__name__}"[:OUTPUT_LIMIT]
