"""Our own `rollout` and `deploy`, or a clear word where another package stands in for one.

Both are common names: of packages on PyPI, and of folders in a project.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType


def own_rollout() -> ModuleType:
    """Raises ImportError where `rollout` is not the package beside this one."""
    return _own("rollout")


def own_deploy() -> ModuleType:
    return _own("deploy")


def _own(name: str) -> ModuleType:
    module = import_module(name)
    found = Path(getattr(module, "__file__", None) or next(iter(module.__path__), "")).resolve()
    if found.parent.parent != Path(__file__).resolve().parent.parent:
        raise ImportError(
            f"another package named {name} shadows tidegate's: {found}; "
            "install tidegate in an environment of its own (pipx install, uv tool install), "
            "or run it from another directory"
        )
    return module
