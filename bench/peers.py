"""The evaluators that tidegate is compared with, each with the same flag: 5 % of all units.

Every peer runs offline, from a definition in its own format, and in the quickest way
that its public interface has for going from the text of a unit to its answer with the
reason, where it gives one. A Contender's `run` holds the loop itself, so that nothing
but the call is between two units. Knows no clock and prints nothing.
"""

# mypy: disable-error-code="import-not-found, import-untyped"
# The peers are in the environment of scripts/bench only, and most bring no types.

from __future__ import annotations

import json
import logging
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench import definitions
from bench.definitions import KEY


class Contender(NamedTuple):
    """Something that can be asked: the distribution it is from, and what an answer holds."""

    name: str
    package: str
    answer: str
    run: Callable[[Sequence[str]], None]
    is_inside: Callable[[str], bool]


def growthbook() -> Contender:
    from growthbook import GrowthBook

    client = GrowthBook(features=definitions.GROWTHBOOK)

    def run(units: Sequence[str]) -> None:
        for unit in units:
            client.set_attributes({"id": unit})
            client.eval_feature(KEY)

    def is_inside(unit: str) -> bool:
        client.set_attributes({"id": unit})
        return bool(client.eval_feature(KEY).value)

    return Contender("growthbook", "growthbook", "value, reason", run, is_inside)


def launchdarkly() -> Contender:
    import ldclient
    from ldclient import Context
    from ldclient.config import Config
    from ldclient.integrations import Files

    logging.getLogger("ldclient").setLevel(logging.CRITICAL)
    path = _file(definitions.LAUNCHDARKLY)
    source = Files.new_data_source(paths=[str(path)])
    client = ldclient.LDClient(
        Config("offline", update_processor_class=source, send_events=False), start_wait=5
    )
    ask, context = client.variation_detail, Context.create

    def run(units: Sequence[str]) -> None:
        for unit in units:
            ask(KEY, context(unit), False)

    def is_inside(unit: str) -> bool:
        return bool(ask(KEY, context(unit), False).value)

    return Contender("launchdarkly", "launchdarkly-server-sdk", "value, reason", run, is_inside)


def unleash() -> Contender:
    from UnleashClient import UnleashClient
    from UnleashClient.cache import FileCache

    cache = FileCache("tidegate-bench", directory=tempfile.mkdtemp())
    cache.bootstrap_from_dict(definitions.UNLEASH)
    client = UnleashClient(
        "http://127.0.0.1:9",
        "tidegate-bench",
        cache=cache,
        disable_metrics=True,
        disable_registration=True,
    )
    client.initialize_client(fetch_toggles=False)
    ask = client.is_enabled

    def run(units: Sequence[str]) -> None:
        for unit in units:
            ask(KEY, {"userId": unit})

    def is_inside(unit: str) -> bool:
        return bool(ask(KEY, {"userId": unit}))

    return Contender("unleash", "UnleashClient", "value", run, is_inside)


def yggdrasil() -> Contender:
    from yggdrasil_engine.engine import UnleashEngine

    engine = UnleashEngine()
    engine.take_state(json.dumps(definitions.UNLEASH))
    ask = engine.is_enabled

    def run(units: Sequence[str]) -> None:
        for unit in units:
            ask(KEY, {"userId": unit})

    def is_inside(unit: str) -> bool:
        return bool(ask(KEY, {"userId": unit}).is_enabled)

    return Contender("unleash's Rust core", "yggdrasil-engine", "value", run, is_inside)


def flagd() -> Contender:
    from openfeature.contrib.tools.flagd.core import FlagdCore
    from openfeature.evaluation_context import EvaluationContext

    core = FlagdCore()
    core.set_flags(definitions.FLAGD)
    ask = core.resolve_boolean_value

    def run(units: Sequence[str]) -> None:
        for unit in units:
            ask(KEY, False, EvaluationContext(unit))

    def is_inside(unit: str) -> bool:
        return bool(ask(KEY, False, EvaluationContext(unit)).value)

    return Contender("flagd", "openfeature-flagd-core", "value, reason", run, is_inside)


def eppo() -> Contender:
    client = _eppo_client()
    ask = client.get_boolean_assignment

    def run(units: Sequence[str]) -> None:
        for unit in units:
            ask(KEY, unit, {}, False)

    def is_inside(unit: str) -> bool:
        return bool(ask(KEY, unit, {}, False))

    return Contender("eppo, value alone", "eppo-server-sdk", "value", run, is_inside)


def eppo_details() -> Contender:
    client = _eppo_client()
    ask = client.get_boolean_assignment_details

    def run(units: Sequence[str]) -> None:
        for unit in units:
            ask(KEY, unit, {}, False)

    def is_inside(unit: str) -> bool:
        return bool(ask(KEY, unit, {}, False).variation)

    return Contender("eppo", "eppo-server-sdk", "value, reason, bucket", run, is_inside)


def flagsmith() -> Contender:
    from flag_engine.engine import get_evaluation_result

    def ask(unit: str) -> Any:
        identity = {"identifier": unit, "key": unit}
        return get_evaluation_result({**definitions.FLAGSMITH, "identity": identity})["flags"][KEY]

    def run(units: Sequence[str]) -> None:
        for unit in units:
            ask(unit)

    def is_inside(unit: str) -> bool:
        return bool(ask(unit)["enabled"])

    return Contender("flagsmith", "flagsmith-flag-engine", "value, reason", run, is_inside)


def configcat() -> Contender:
    from configcatclient import ConfigCatClient, ConfigCatOptions, PollingMode
    from configcatclient.localfiledatasource import LocalFileFlagOverrides
    from configcatclient.overridedatasource import OverrideBehaviour
    from configcatclient.user import User

    path = _file(definitions.CONFIGCAT)
    client = ConfigCatClient.get(
        "localonly",
        ConfigCatOptions(
            polling_mode=PollingMode.manual_poll(),
            flag_overrides=LocalFileFlagOverrides(str(path), OverrideBehaviour.LocalOnly),
            offline=True,
        ),
    )
    ask = client.get_value_details

    def run(units: Sequence[str]) -> None:
        for unit in units:
            ask(KEY, False, User(unit))

    def is_inside(unit: str) -> bool:
        return bool(ask(KEY, False, User(unit)).value)

    return Contender("configcat", "configcat-client", "value, reason", run, is_inside)


def optimizely() -> Contender:
    from optimizely.decision.optimizely_decide_option import OptimizelyDecideOption
    from optimizely.optimizely import Optimizely

    client = Optimizely(
        json.dumps(definitions.OPTIMIZELY),
        default_decide_options=[OptimizelyDecideOption.DISABLE_DECISION_EVENT],
    )
    user = client.create_user_context

    def run(units: Sequence[str]) -> None:
        for unit in units:
            user(unit).decide(KEY)

    def is_inside(unit: str) -> bool:
        return bool(user(unit).decide(KEY).enabled)

    return Contender("optimizely", "optimizely-sdk", "value, rule", run, is_inside)


def split() -> Contender:
    from splitio import get_factory

    path = _file(definitions.SPLIT)
    logging.getLogger("splitio").setLevel(logging.CRITICAL)
    factory = get_factory(
        "localhost", config={"splitFile": str(path), "localhostRefreshEnabled": False}
    )
    factory.block_until_ready(5)
    ask = factory.client().get_treatment

    def run(units: Sequence[str]) -> None:
        for unit in units:
            ask(unit, KEY)

    def is_inside(unit: str) -> bool:
        return bool(ask(unit, KEY) == "inside")

    return Contender("split", "splitio_client", "value", run, is_inside)


def statsig() -> Contender:
    from statsig_python_core import Statsig, StatsigOptions, StatsigUser
    from statsig_python_core.data_store import DataStore, DataStoreResponse

    class Store(DataStore):  # type: ignore[misc] # it has no types here
        def get(self, _: str) -> Any:
            return DataStoreResponse(json.dumps(definitions.STATSIG), 1)

    options = StatsigOptions()
    options.disable_network = options.disable_all_logging = True
    options.data_store = Store()
    options.output_log_level = "error"
    client = Statsig("secret-offline", options)
    client.initialize().wait()
    ask = client.get_feature_gate

    def run(units: Sequence[str]) -> None:
        for unit in units:
            ask(StatsigUser(unit), KEY)

    def is_inside(unit: str) -> bool:
        return bool(ask(StatsigUser(unit), KEY).value)

    return Contender("statsig", "statsig-python-core", "value, reason", run, is_inside)


def posthog() -> Contender:
    from posthog import Posthog

    client = Posthog("offline", host="http://127.0.0.1:9", send=False, disable_geoip=True)
    client.feature_flags = [definitions.POSTHOG]
    ask = client.get_feature_flag

    def run(units: Sequence[str]) -> None:
        for unit in units:
            ask(KEY, unit, only_evaluate_locally=True, send_feature_flag_events=False)

    def is_inside(unit: str) -> bool:
        return bool(ask(KEY, unit, only_evaluate_locally=True, send_feature_flag_events=False))

    return Contender("posthog", "posthog", "value", run, is_inside)


def _eppo_client() -> Any:
    import eppo_client
    from eppo_client.assignment_logger import AssignmentLogger

    configuration = eppo_client.Configuration(
        flags_configuration=json.dumps(definitions.EPPO).encode()
    )
    return eppo_client.init(
        eppo_client.ClientConfig(
            api_key="offline",
            assignment_logger=AssignmentLogger(),
            initial_configuration=configuration,
            poll_interval_seconds=None,
        )
    )


def _file(document: dict[str, Any]) -> Path:
    path = Path(tempfile.mkdtemp()) / "flags.json"
    path.write_text(json.dumps(document))
    return path


PEERS: tuple[Callable[[], Contender], ...] = (
    eppo,
    eppo_details,
    yggdrasil,
    unleash,
    growthbook,
    launchdarkly,
    flagsmith,
    configcat,
    optimizely,
    split,
    statsig,
    posthog,
    flagd,
)

LEFT_OUT = {
    "flipt-client": "its constructor waits for a server, even with a snapshot at hand",
}
"""What was tried and cannot be compared, and why."""
