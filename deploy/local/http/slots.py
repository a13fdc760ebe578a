"""The place of a machine in its app, by which seeded chance tells machines apart.

Ids are random and a run's order of requests depends on timing; a slot depends
on neither. It is the machine's group and name. A name may carry the id of the
run that made it, which is random too; such an id also stands in the machine's
metadata, so what metadata repeats is left out of the slot.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploy.local.state import App

_LEAST_ID_LENGTH = 6


def slot_for(app: App | None, body: Any) -> str:
    """The slot of the machine that a create asks for; `body` is not checked yet."""
    request = _object(body)
    metadata = _object(_object(request.get("config")).get("metadata"))
    group = str(metadata.get("fly_process_group") or "")
    name = request.get("name")
    if isinstance(name, str) and name:
        return f"{group}/{_without_ids(name, metadata, group)}"
    prefix = f"{group}/#"
    made = sum(m.slot.startswith(prefix) for m in app.machines.values()) if app else 0
    return f"{prefix}{made}"


def _without_ids(name: str, metadata: Mapping[str, Any], group: str) -> str:
    texts = {value for value in metadata.values() if isinstance(value, str)} - {group}
    for text in sorted(texts, key=lambda text: (-len(text), text)):
        if len(text) >= _LEAST_ID_LENGTH:
            name = name.replace(text, "")
    return name


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
