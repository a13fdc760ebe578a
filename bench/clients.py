"""One evaluation through OpenFeature's Python client: the same call, with one provider or another.

What the client itself costs shows in the row of OpenFeature's own provider, whose flags are
a dictionary.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.flagd import FlagdProvider
from openfeature.contrib.provider.flagd.config import ResolverType
from openfeature.evaluation_context import EvaluationContext
from openfeature.provider import AbstractProvider
from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

from bench.definitions import KEY
from bench.ours import FLAGS_TEXT, flags
from rollout.openfeature import RolloutProvider
from rollout.serving.export import to_flagd

IN_MEMORY = "OpenFeature in-memory"


@contextmanager
def contenders(units: Sequence[str], directory: Path) -> Iterator[dict[str, Callable[[], object]]]:
    """Each asks for all the units, whose contexts are made beforehand."""
    contexts = [EvaluationContext(unit) for unit in units]

    def ask(client: OpenFeatureClient) -> None:
        get = client.get_integer_value
        for context in contexts:
            get(KEY, -1, context)

    found: dict[str, Callable[[], object]] = {}
    for name, provider in _providers(directory).items():
        api.set_provider_and_wait(provider, name)
        client = api.get_client(name)
        if client.get_integer_value(KEY, -1, contexts[0]) not in (0, 5):
            raise SystemExit(f"{name} does not evaluate {KEY}")
        found[name] = partial(ask, client)
    try:
        yield found
    finally:
        api.shutdown()


def _providers(directory: Path) -> dict[str, AbstractProvider]:
    path = directory / "flags.yaml"
    path.write_text(FLAGS_TEXT.format(key=KEY, percent=5))
    definition = directory / "flagd.json"
    definition.write_text(json.dumps(to_flagd(flags(5).values())))
    return {
        IN_MEMORY: InMemoryProvider({KEY: InMemoryFlag("outside", {"inside": 5, "outside": 0})}),
        "tidegate": RolloutProvider(path),
        "flagd": FlagdProvider(
            resolver_type=ResolverType.FILE, offline_flag_source_path=str(definition)
        ),
    }
