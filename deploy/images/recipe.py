"""What an image is made from, as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A build as it is asked for. `ignorefile` is None for the context's own .dockerignore.

    `args` are seen by everybody who has the image; `secrets` by its build only, and
    never on a command line. A `platform` of "" is the engine's own.
    """

    context: Path
    dockerfile: Path
    ignorefile: Path | None = None
    target: str = ""
    args: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    platform: str = ""
    uses_cache: bool = True
