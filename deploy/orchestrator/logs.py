"""The last words of a machine whose app failed, where the platform offers them.

Fetched when it fails, since the way back may destroy the machine; best effort,
and within bounds.
"""

from __future__ import annotations

from contextlib import suppress

import anyio

from deploy.addresses import url_is_loopback
from deploy.errors import AppFailed, CallFailed, DeployError
from deploy.orchestrator.tools import Tools

_LINES = 20
_LINE_LENGTH = 500
_WITHIN_S = 2.0


async def keep_log(tools: Tools, failure: DeployError) -> None:
    """Give an app's failure the end of its machine's log; the bundled platform has one."""
    if not isinstance(failure, AppFailed) or not failure.machine_id or failure.log is not None:
        return
    if not url_is_loopback(tools.client.address):
        return
    with anyio.move_on_after(_WITHIN_S), suppress(CallFailed):
        lines = await tools.client.local_log(failure.machine_id)
        failure.log = tuple(line[:_LINE_LENGTH] for line in lines[-_LINES:])
