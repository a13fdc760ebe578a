"""Who takes traffic, at every instant: kept up to date by the platform's own transitions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deploy.local.engine import Platform
from deploy.local.state import Machine


class Watch:
    """Notes which machines may have changed, and looks at those when time is about to pass.

    `serving` holds (time, who took traffic from then on), changes only.
    """

    def __init__(self, platform: Platform, app: str) -> None:
        self._platform = platform
        self._app = app
        self._changed: set[str] = set()
        self._now: frozenset[str] = frozenset()
        self.serving: list[tuple[float, frozenset[str]]] = []
        self.groups: dict[str, str] = {}  # of all that ever served
        self.canaries: set[str] = set()
        lifecycle = platform._lifecycle
        for owner, name in (
            (lifecycle, "_set_state"),
            (lifecycle, "reset_checks"),
            (lifecycle, "_reporter"),
            (platform, "cordon"),
        ):
            setattr(owner, name, self._noting(getattr(owner, name)))

    def look(self, now: float) -> None:
        """What is true now has been true since the last change, and stays so until time passes."""
        if not self._changed:
            return
        machines = self._platform.apps[self._app].machines
        serving = set(self._now)
        for id_ in self._changed:
            machine = machines.get(id_)
            if machine is not None and machine.takes_traffic:
                serving.add(id_)
                self.groups.setdefault(id_, machine.config.group)
                if "-canary-" in machine.name:
                    self.canaries.add(id_)
            else:
                serving.discard(id_)
        self._changed.clear()
        if serving != self._now or not self.serving:
            self._now = frozenset(serving)
            self.serving.append((now, self._now))

    def note(self, machine_id: str) -> None:
        """Something else may have changed it."""
        self._changed.add(machine_id)

    def check(self) -> None:
        """That nothing was missed."""
        machines = self._platform.apps[self._app].living
        really = {machine.id for machine in machines if machine.takes_traffic}
        missed = (really ^ self._now) - self._changed
        assert not missed, f"the watch did not see {missed} change"

    def _noting(self, changes: Callable[..., Any]) -> Callable[..., Any]:
        """`changes`, whose first argument is a machine, or which makes a reporter of its checks."""

        def noting(machine: Machine, *args: Any, **options: Any) -> Any:
            self._changed.add(machine.id)
            made = changes(machine, *args, **options)
            if not callable(made):
                return made

            def report(*result: Any) -> None:
                self._changed.add(machine.id)
                made(*result)

            return report

        return noting
