"""The legacy path: one pass, and after the first failed call nothing new begins.

It is the control of the experiment: what it leaves half done stays so, and the
report says it plainly. Once every app retries, this file and the branch in
`run` that names it are all there is to delete.
"""

from __future__ import annotations

from deploy.orchestrator.execute import Outcome
from deploy.orchestrator.passes import Work


async def deploy_legacy(work: Work) -> Outcome:
    """Bring the app to the release in one pass, or stop where it fails."""
    return await work.forward(1, 1, is_decisive=lambda _: True)


async def return_legacy(work: Work) -> Outcome:
    """Bring the app back to what it was in one pass, or stop where it fails."""
    return await work.back(1, 1, is_decisive=lambda _: True)
