import datetime
import json
import tomllib
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deploy.errors import EXIT_USAGE, UsageProblem
from deploy.flytoml.appconfig import AppConfig, AppConfigProblem, BuildSection, parse
from deploy.plan.group import Group
from tests.deploy.flytoml.texts import problems_of

OWNED = ("env", "services", "checks", "init", "mounts", "files", "restart", "stop_config")

WHOLE = """
app = "hello"
primary_region = "fra"
kill_signal = "SIGTERM"
kill_timeout = 10
swap_size_mb = 512
console_command = "/bin/bash"

[build]
  image = "registry/hello:v1"
  dockerfile = "Dockerfile"
  [build.args]
    ANY = "thing"

[deploy]
  strategy = "canary"
  max_unavailable = 0.5
  wait_timeout = "10m"
  release_command = "migrate --all"
  release_command_timeout = "1m30s"
  seed_command = "seed"
  [deploy.release_command_vm]
    size = "shared-cpu-2x"

[env]
  TEXT = "x"
  NUMBER = 123
  SHARE = 1.50
  YES = true

[processes]
  web = "python3 'my server.py' --fast"
  idle = ""

[http_service]
  processes = ["web"]
  force_https = true

[[vm]]
  memory = "1gb"

[[restart]]
  policy = "never"
  retries = 2
  processes = ["web"]

[metrics]
  port = 9091
  path = "/metrics"
  processes = ["web"]

[[statics]]
  guest_path = "/app/public"
  url_prefix = "/public"

[[files]]
  guest_path = "/etc/hello"
  raw_value = "aGVsbG8gd29ybGQK"
  processes = ["web"]

[[mounts]]
  source = "data"
  destination = "/data"
  processes = ["web"]

[experimental]
  cmd = ["fallback"]
  entrypoint = "/init"
  anything = { goes = true }
"""


def group_of(text: str, name: str = "app") -> Group:
    return next(group for group in parse(text).groups if group.name == name)


def test_a_whole_fly_toml_becomes_one_machine_configuration_per_group() -> None:
    config = parse(WHOLE)
    assert (config.app, config.primary_region, config.image) == (
        "hello",
        "fra",
        "registry/hello:v1",
    )
    web, idle = config.groups
    env = {"TEXT": "x", "NUMBER": "123", "SHARE": "1.5", "YES": "true", "PRIMARY_REGION": "fra"}
    statics = [{"guest_path": "/app/public", "url_prefix": "/public"}]
    guest = {"cpu_kind": "shared", "cpus": 1, "memory_mb": 1024}
    assert web == Group(
        name="web",
        config={
            "env": {**env, "FLY_PROCESS_GROUP": "web"},
            "services": [
                {
                    "protocol": "tcp",
                    "internal_port": 8080,
                    "ports": [
                        {"port": 80, "handlers": ["http"], "force_https": True},
                        {"port": 443, "handlers": ["http", "tls"]},
                    ],
                }
            ],
            "checks": {},
            "init": {
                "cmd": ["python3", "my server.py", "--fast"],
                "entrypoint": ["/init"],
                "swap_size_mb": 512,
            },
            "mounts": [{"name": "data", "path": "/data"}],
            "files": [{"guest_path": "/etc/hello", "raw_value": "aGVsbG8gd29ybGQK"}],
            "restart": {"policy": "no", "max_retries": 2},
            "stop_config": {"timeout": "10s", "signal": "SIGTERM"},
            "guest": guest,
            "metrics": {"port": 9091, "path": "/metrics"},
            "statics": statics,
        },
    )
    assert idle.config == {
        "env": {**env, "FLY_PROCESS_GROUP": "idle"},
        "services": [],
        "checks": {},
        "init": {"cmd": ["fallback"], "entrypoint": ["/init"], "swap_size_mb": 512},
        "mounts": [],
        "files": [],
        "restart": {},
        "stop_config": {"timeout": "10s", "signal": "SIGTERM"},
        "guest": guest,
        "statics": statics,
    }
    assert (web.has_services, web.has_checks, web.has_mounts) == (True, False, True)
    assert (idle.has_services, idle.has_checks, idle.has_mounts) == (False, False, False)


def test_the_deploy_section_is_read_in_seconds_and_without_floats() -> None:
    deploy = parse(WHOLE).deploy
    assert deploy.strategy == "canary"
    assert deploy.max_unavailable == Decimal("0.5")
    assert deploy.wait_timeout_s == 600
    assert deploy.release_command == "migrate --all"
    assert deploy.release_command_timeout_s == 90
    assert deploy.release_command_guest == {"cpu_kind": "shared", "cpus": 2, "memory_mb": 512}


def test_an_empty_fly_toml_is_one_group_named_app_with_every_owned_key_empty() -> None:
    config = parse("")
    assert (config.app, config.primary_region, config.image) == (None, None, None)
    (group,) = config.groups
    assert group.name == "app"
    assert tuple(group.config) == OWNED
    assert group.config["env"] == {"FLY_PROCESS_GROUP": "app"}
    assert not any(group.config[key] for key in OWNED if key != "env")
    assert config.deploy.strategy is None
    assert config.deploy.max_unavailable is None


def test_groups_are_in_the_files_order() -> None:
    text = '[processes]\nzebra = "z"\napp = "a"\nmiddle = "m"'
    assert [group.name for group in parse(text).groups] == ["zebra", "app", "middle"]


def test_the_same_text_gives_the_same_json() -> None:
    first, second = (json.dumps([group.config for group in parse(WHOLE).groups]) for _ in range(2))
    assert first == second


def test_no_two_groups_share_a_value_that_somebody_could_change() -> None:
    web, idle = parse(WHOLE).groups
    web.config["statics"][0]["guest_path"] = "changed"
    web.config["stop_config"]["signal"] = "changed"
    assert "changed" not in json.dumps(idle.config)


@pytest.mark.parametrize(
    ("said", "read"),
    [("0.33", Decimal("0.33")), ("1", 1), ("1.0", 1), ("4", 4), ("0.001", Decimal("0.001"))],
)
def test_max_unavailable_is_a_fraction_below_one_and_a_count_from_one(
    said: str, read: Decimal | int
) -> None:
    value = parse(f"[deploy]\nmax_unavailable = {said}").deploy.max_unavailable
    assert value == read
    assert type(value) is type(read)


@pytest.mark.parametrize(
    "said", ["0", "0.0", "-1", "-0.5", "1.5", "nan", "inf", '"33%"', "true", "1e999999", "[1]"]
)
def test_a_max_unavailable_that_is_neither_is_refused(said: str) -> None:
    problems = problems_of(f"[deploy]\nmax_unavailable = {said}")
    assert list(problems) == ["deploy.max_unavailable"]
    assert "0.33" in problems["deploy.max_unavailable"]


@pytest.mark.parametrize(
    ("text", "path", "says"),
    [
        ("[deploy]\nmax_unavailible = 1", "deploy.max_unavailible", 'did you mean "max_unavail'),
        ('[deploy]\nstrategy = "rollin"', "deploy.strategy", 'did you mean "rolling"?'),
        ('[deploy]\nstrategy = "big-bang"', "deploy.strategy", "use one of rolling, canary"),
        ("[deploy]\nwait_timeout = 300", "deploy.wait_timeout", "has no unit"),
        ('[deploy]\nwait_timeout = "0s"', "deploy.wait_timeout", "out of range"),
        ('[deploy]\nwait_timeout = "5 minutes"', "deploy.wait_timeout", 'such as "15s"'),
        ('[deploy]\nrelease_command = "it\'s"', "deploy.release_command", "close the quotation"),
        ("deploy = 1", "deploy", "write [deploy]"),
        ("app = 1", "app", "write text in quotes"),
        ('app = "../admin"', "app", "not an app name"),
        ("primary_region = 1", "primary_region", "is a whole number"),
        ('kill_signal = "SIGTEM"', "kill_signal", 'did you mean "SIGTERM"?'),
        ("kill_timeout = true", "kill_timeout", "a duration"),
        ("kill_timout = 5", "kill_timout", 'did you mean "kill_timeout"?'),
        ("[build]\nimage = 5", "build.image", "text in quotes"),
        ('[build]\nimagge = "x"', "build.imagge", 'did you mean "image"?'),
        ("[build.compose]", "build.compose", "deploy with flyctl"),
        ('machine_config = "{}"', "machine_config", "deploy with flyctl"),
        ('[experimental]\nmachine_config = "{}"', "experimental.machine_config", "flyctl"),
        ('[processes]\nfly_app_console = "x"', "processes", "the platform reserves"),
        ("[processes]\nweb = [1]", "processes.web", "text in quotes"),
        ('[processes]\nweb = "it\'s"', "processes.web", "close the quotation"),
        ('[processes]\n"" = "x"', 'processes.""', "is not a name"),
        ("[env]\nLIST = [1]", "env.LIST", "is a list"),
        ("[env]\nDAY = 2026-01-01", "env.DAY", "is a date"),
        ("[env]\nNAN = nan", "env.NAN", "in quotes"),
        ('[env]\nNUL = "a\\u0000b"', "env.NUL", "NUL"),
    ],
)
def test_a_wrong_value_is_named_by_its_path_with_what_to_write_instead(
    text: str, path: str, says: str
) -> None:
    problems = problems_of(text)
    assert list(problems) == [path]
    assert says in problems[path]


def test_all_problems_are_named_at_once_in_one_message() -> None:
    text = '[deploy]\nstrategy = "x"\nmax_unavailable = 0\n[http_service]\ninternal_prt = 1'
    with pytest.raises(UsageProblem) as caught:
        parse(text, name="apps/fly.toml")
    lines = caught.value.message.splitlines()
    assert lines[0] == "apps/fly.toml has 3 problems:"
    assert len(lines) == 4
    assert caught.value.exit_code == EXIT_USAGE
    assert "apps/fly.toml" in caught.value.hint


def test_one_problem_is_one_line_and_its_fix_the_hint() -> None:
    with pytest.raises(UsageProblem) as caught:
        parse("[deploy]\nmax_unavailible = 1")
    assert (
        caught.value.message == "fly.toml: deploy.max_unavailible: is not a key that is known here"
    )
    assert caught.value.hint == 'did you mean "max_unavailable"?'


def test_hundreds_of_problems_stay_a_message_one_can_read() -> None:
    text = "\n".join(f"[[services]]\nprotocol = {index}" for index in range(300))
    with pytest.raises(AppConfigProblem) as caught:
        parse(text)
    assert len(caught.value.problems) == 600
    assert len(caught.value.message.splitlines()) < 30


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("app = hello", "line 1, column 7"),
        ("app = 'a'\nport = = 1", "line 2, column 8"),
        ("app = 'a'\napp = 'b'\n", "line 2"),
        ("a = " + "[" * 5_000, "nested too deep"),
        ("a = " + "9" * 5_000, "cannot be read"),
        ("a." * 70 + "b = 1", "more than 64 parts"),
        ("# " + "x" * 2**20, "larger than 1 MiB"),
        ("app = '\ud800'", "not UTF-8"),
        ("app = 'a'\x01", "line 1"),
    ],
)
def test_what_is_no_toml_is_one_line_with_the_place(text: str, says: str) -> None:
    with pytest.raises(UsageProblem, match=r"fly\.toml") as caught:
        parse(text)
    assert says in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_a_control_character_never_reaches_the_terminal() -> None:
    with pytest.raises(AppConfigProblem) as caught:
        parse('[deploy]\nstrategy = "\\u001b[31m"\n"\\u001b[0m" = 1')
    assert caught.value.message.replace("\n", "").isprintable()


def test_a_file_may_have_a_hundred_groups_and_no_more() -> None:
    def text(count: int) -> str:
        return "[processes]\n" + "\n".join(f'g{number} = "run"' for number in range(count))

    assert len(parse(text(100)).groups) == 100
    assert list(problems_of(text(101))) == ["processes"]


# Everything below: whatever the text or the values, an AppConfig or an error of ours.

WORDS = (
    "app primary_region kill_signal kill_timeout swap_size_mb build image compose deploy strategy "
    "max_unavailable wait_timeout release_command release_command_vm env processes web worker "
    "http_service services internal_port force_https auto_stop_machines min_machines_running "
    "concurrency type hard_limit checks tcp_checks http_checks interval timeout grace_period "
    "method path headers name value protocol ports port start_port end_port handlers tls_options "
    "http_options response proxy_proto_options vm size memory memory_mb cpus cpu_kind gpu_kind "
    "kernel_args mounts source destination initial_size files guest_path raw_value local_path "
    "restart policy retries metrics statics url_prefix experimental cmd exec"
)
KEYS = st.sampled_from(WORDS.split()) | st.text(max_size=4)
LIKELY: list[Any] = [
    *("app", "web", "tcp", "http", "15s", "1m30s", "2gb", "shared-cpu-1x", "always", "it's"),
    *(0, 1, 80, 8080, 70000, 2**70, Decimal("0.5"), Decimal("NaN"), Decimal("1E+400")),
    *([], {}, ["web"], True, False, datetime.date(2026, 1, 1)),
]
VALUES = st.recursive(
    st.sampled_from(LIKELY) | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=12,
)


def check_total(text: str) -> None:
    problem = None
    try:
        config = parse(text, read_file=lambda path: path.encode())
    except UsageProblem as error:
        problem = error
    if problem is not None:
        assert problem.message
        assert problem.hint
        return
    assert isinstance(config, AppConfig)
    for group in config.groups:
        assert set(OWNED) <= set(group.config)
        json.dumps(group.config, allow_nan=False).encode()


def toml(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return json.dumps(value, ensure_ascii=False)
        case list():
            return f"[{', '.join(map(toml, value))}]"
        case dict():
            return f"{{{', '.join(f'{toml(key)} = {toml(item)}' for key, item in value.items())}}}"
        case Decimal() if value.is_nan():
            return "nan"
    return str(value)


@given(st.text())
@example("a=1e99999999999999999999")
@example("app = '\ud800'")
def test_any_text_is_a_configuration_or_an_error_of_ours(text: str) -> None:
    check_total(text)


@given(st.dictionaries(KEYS, VALUES, max_size=6))
@example({"http_service": {"http_options": {"response": Decimal("1E+400")}}})
@example({"services": [{"internal_port": 1, "ports": [{"port": 2**70}]}]})
@example({"env": {"HUGE": Decimal("1E+400"), "NEGATIVE": -(2**63)}})
def test_any_toml_value_is_a_configuration_or_an_error_of_ours(values: dict[str, Any]) -> None:
    text = "\n".join(f"{toml(key)} = {toml(value)}" for key, value in values.items())
    check_total(text)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a nested value."""
    match value:
        case dict():
            keys: list[Any] = list(value)
        case list():
            keys = list(range(len(value)))
        case _:
            return []
    return [place for key in keys for place in [(value, key), *places(value[key])]]


@given(st.data())
def test_any_value_anywhere_in_a_good_fly_toml_is_one_or_the_other(data: st.DataObject) -> None:
    values = tomllib.loads(WHOLE, parse_float=Decimal)
    container, key = data.draw(st.sampled_from(places(values)))
    container[key] = data.draw(VALUES)
    check_total("\n".join(f"{name} = {toml(value)}" for name, value in values.items()))


def test_a_release_command_may_have_no_timeout() -> None:
    text = 'app = "a"\n[deploy]\nrelease_command = "migrate"\nrelease_command_timeout = "none"\n'
    assert parse(text).deploy.release_command_timeout_s == float("inf")


@pytest.mark.parametrize(
    ("text", "path", "effect"),
    [
        ('[build]\nbuilder = "heroku/x"', "build.builder", "build without a Dockerfile"),
        ('[deploy]\nseed_command = "./seed"', "deploy.seed_command", "run once"),
        (
            '[mounts]\nsource = "a"\ndestination = "/a"\ninitial_size = "3gb"',
            "initial_size",
            "1 GB",
        ),
        ('[checks.a]\ntype = "tcp"\nport = 1\nrestart_limit = 3', "restart_limit", "failed checks"),
    ],
)
def test_a_key_that_is_not_carried_out_is_a_warning_that_says_what_it_would_do(
    text: str, path: str, effect: str
) -> None:
    (warning,) = parse(text).warnings
    assert path in warning
    assert effect in warning


def test_a_key_that_asks_for_nothing_is_no_warning() -> None:
    assert parse('[checks.a]\ntype = "tcp"\nport = 1\nrestart_limit = 0').warnings == ()


def test_two_groups_on_one_port_are_a_warning_and_one_service_for_both_is_none() -> None:
    groups = '[processes]\nweb = "w"\napi = "a"\n'
    service = "[[services]]\ninternal_port = 1\nprocesses = {}\n[[services.ports]]\nport = 80\n"
    (warning,) = parse(groups + service.format('["web"]') + service.format('["api"]')).warnings
    assert "port 80" in warning
    assert '"web"' in warning
    assert parse(groups + service.format('["web", "api"]')).warnings == ()


def test_what_build_says_of_building_is_read_and_nothing_is_none() -> None:
    text = """
[build]
dockerfile = "docker/web"
ignorefile = "docker/ignore"
build-target = "prod"
[build.args]
VERSION = "1"
DEBUG = false
"""
    assert parse(text).build == BuildSection(
        dockerfile="docker/web",
        ignorefile="docker/ignore",
        target="prod",
        args={"VERSION": "1", "DEBUG": "false"},
    )
    assert parse('[build]\nimage = "hello:v1"').build is None
