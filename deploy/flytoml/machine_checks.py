"""Machine checks: the commands that try a new machine from another one.

The rules are those of Fly.io's configuration reference
(https://fly.io/docs/reference/configuration/). Knows nothing of how they run.
"""

from __future__ import annotations

from deploy.flytoml.parts import read_stop_config
from deploy.flytoml.scope import Scope, Scoped
from deploy.flytoml.tables import Table, Wire, said
from deploy.plan.group import MachineCheck

_KEY = "machine_checks"
_EXAMPLE = 'command = ["curl", "--fail", "http://[$FLY_TEST_MACHINE_IP]:8080/"]'


def read_machine_checks(top: Table, scope: Scope, stop_config: Wire) -> list[Scoped[MachineCheck]]:
    """Those of a service for its groups, those at the top for every group.

    One without an image of its own ends as the app does, by `stop_config`.
    """
    http = top.table("http_service")
    services = [*([] if http is None else [http]), *top.tables("services")]
    found = [
        (entry, scope.of(service, unsaid="only"))
        for service in services
        for entry in service.tables(_KEY)
    ]
    found += [(entry, scope.groups) for entry in top.tables(_KEY)]
    return [Scoped(groups, _check(entry, stop_config), entry.path) for entry, groups in found]


def _check(entry: Table, stop_config: Wire) -> MachineCheck:
    entry.require("command", example=_EXAMPLE)
    command = entry.texts("command")
    if command == []:
        entry.problem("command", "is empty", f"write {_EXAMPLE}")
    image = entry.text("image") or ""
    own = read_stop_config(entry)
    init = said(cmd=command or [], entrypoint=entry.texts("entrypoint") or None)
    entry.end()
    return MachineCheck(
        init=init, image=image, stop_config=own if image else {**stop_config, **own}
    )
