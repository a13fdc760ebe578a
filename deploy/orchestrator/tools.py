"""What every part of a run works with."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.api.client import MachinesClient
from deploy.api.patience import Patience
from deploy.events import Emit
from deploy.orchestrator.halt import Halt


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """The platform, how long a failed read is asked again, the switch that ends it, the readers."""

    client: MachinesClient
    patience: Patience
    halt: Halt
    emit: Emit
