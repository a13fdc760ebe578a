"""The legacy path: one pass, and after the first write or wait that fails nothing new begins.

It is the control of the experiment: what it leaves half done stays so, and the
report says it plainly. Once every app retries, this file and the marked branch
in `run` are all there is to delete.

deploy-retries: this file goes with the flag, and so does what `run` marks.
"""

from __future__ import annotations

from deploy.orchestrator import passes
from deploy.orchestrator.deployment import Deployment
from deploy.orchestrator.outcome import Ending
from deploy.plan.intent import BACK


async def run(deployment: Deployment) -> Ending:
    """Bring the app to the release, or back to what it was, or stop where that fails."""
    one_pass = passes.back if deployment.memory.goal == BACK else passes.forward
    return Ending(await one_pass(deployment, passes.Pass(1, 1, is_decisive=lambda _: True)))
