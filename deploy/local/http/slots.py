"""The place of a machine in its app, by which seeded chance tells machines apart.

Ids are random and a run's order of requests depends on timing; a slot depends
on neither. It is the machine's group and name. A name may carry the id of the
run that made it, which is random too; such an id also stands in the machine's
metadata, so what metadata repeats is left out of the slot.
"""

from __future__ import annotations

from typing import Any

from deploy.local.state import App

_LEAST_ID_LENGTH = 6


def slot_for(app: App | None, body: Any) -> str:
    """The slot of the machine that a create asks for; `body` is not checked yet."""
    request = body if isinstance(body, dict) else {}
    config = request.get("config")
    found = config.get("metadata") if isinstance(config, dict) else None
    metadata = found if isinstance(found, dict) else {}
    group = str(metadata.get("fly_process_group") or "")
    name = request.get("name")
    if isinstance(name, str) and name:
        ids = [v for v in metadata.values() if isinstance(v, str) and len(v) >= _LEAST_ID_LENGTH]
        for value in sorted(ids, key=len, reverse=True):
            name = name.replace(value, "") if value != group else name
        return f"{group}/{name}"
    prefix = f"{group}/#"
    made = sum(m.slot.startswith(prefix) for m in app.machines.values()) if app else 0
    return f"{prefix}{made}"
