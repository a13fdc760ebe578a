from typing import Any

import pytest

from deploy.flytoml.appconfig import parse
from tests.deploy.flytoml.texts import problems_of

PORTS = '[[services.ports]]\nport = 443\nhandlers = ["tls", "http"]\n'


def service(text: str, group: str = "app") -> dict[str, Any]:
    config = next(one.config for one in parse(text).groups if one.name == group)
    (only,) = config["services"]
    assert isinstance(only, dict)
    return only


def test_http_service_is_a_tcp_service_on_80_and_443_with_its_options_on_the_right_ports() -> None:
    text = """
        [http_service]
          internal_port = 3000
          force_https = true
          auto_stop_machines = "suspend"
          auto_start_machines = false
          min_machines_running = 0
          [http_service.concurrency]
            type = "requests"
            soft_limit = 200
            hard_limit = 250
          [http_service.tls_options]
            alpn = ["h2"]
          [http_service.http_options]
            idle_timeout = 600
            response.headers = { fly-request-id = false, share = 0.5 }
    """
    http_options = {
        "response": {"headers": {"fly-request-id": False, "share": 0.5}},
        "idle_timeout": 600,
    }
    assert service(text) == {
        "protocol": "tcp",
        "internal_port": 3000,
        "autostop": "suspend",
        "autostart": False,
        "min_machines_running": 0,
        "concurrency": {"type": "requests", "soft_limit": 200, "hard_limit": 250},
        "ports": [
            {
                "port": 80,
                "handlers": ["http"],
                "force_https": True,
                "http_options": http_options,
            },
            {
                "port": 443,
                "handlers": ["http", "tls"],
                "tls_options": {"alpn": ["h2"]},
                "http_options": http_options,
            },
        ],
    }


def test_a_service_is_passed_on_with_its_ports() -> None:
    text = """
        [[services]]
          internal_port = 5432
          protocol = "tcp"
          script_checks = []
          [[services.ports]]
            port = "5432"
            handlers = ["pg_tls"]
            proxy_proto_options = { version = "v2" }
          [[services.ports]]
            start_port = 6000
            end_port = 6100
    """
    assert service(text) == {
        "protocol": "tcp",
        "internal_port": 5432,
        "ports": [
            {"port": 5432, "handlers": ["pg_tls"], "proxy_proto_options": {"version": "v2"}},
            {"start_port": 6000, "end_port": 6100},
        ],
    }


@pytest.mark.parametrize(
    ("said", "wire"), [("true", "stop"), ("false", "off"), ('"stop"', "stop"), ('"off"', "off")]
)
def test_autostop_may_be_a_word_or_the_older_boolean(said: str, wire: str) -> None:
    assert service(f"[http_service]\nauto_stop_machines = {said}")["autostop"] == wire


def test_an_empty_services_section_is_no_service() -> None:
    assert parse("[[services]]").groups[0].config["services"] == []


def test_a_service_is_only_in_the_groups_it_names() -> None:
    text = """
        [processes]
          web = "w"
          api = "a"
          worker = "x"
        [[services]]
          internal_port = 1
          processes = ["api", "web"]
    """
    has = {group.name: group.has_services for group in parse(text).groups}
    assert has == {"web": True, "api": True, "worker": False}


def test_a_service_names_its_groups_when_there_is_a_choice_and_need_not_when_there_is_none() -> (
    None
):
    one = '[http_service]\n[processes]\nweb = "w"'
    assert service(one, "web")
    several = f'{one}\nworker = "x"'
    assert list(problems_of(several)) == ["http_service.processes"]


@pytest.mark.parametrize(
    ("text", "path", "says"),
    [
        ("[http_service]\ninternal_prt = 1", "http_service.internal_prt", '"internal_port"?'),
        ("[http_service]\ninternal_port = 70000", "http_service.internal_port", "from 1 to 65535"),
        ("[http_service]\ninternal_port = 0", "http_service.internal_port", "from 1 to 65535"),
        ('[http_service]\nforce_https = "yes"', "http_service.force_https", "true or false"),
        ('[http_service]\nprocesses = "app"', "http_service.processes", '["one", "two"]'),
        ('[http_service]\nprocesses = ["ap"]', "http_service.processes", 'did you mean "app"?'),
        (
            '[http_service]\nauto_stop_machines = "halt"',
            "http_service.auto_stop_machines",
            "use one of off, stop, suspend",
        ),
        ('[http_service.concurrency]\ntype = "x"', "http_service.concurrency.type", "requests"),
        ('[http_service]\nconcurrency = "1,2"', "http_service.concurrency", "[http_service.conc"),
        ("[http_service.tls_options]\nx = 1", "http_service.tls_options.x", "not a key"),
        (
            "[http_service.http_options]\nidle_timeout = 2026-01-01",
            "http_service.http_options.idle_timeout",
            "cannot take",
        ),
        ("[[http_service]]", "http_service", "write [http_service]"),
        ("services = 1", "services", "write [[services]]"),
        ('[[services]]\nprotocol = "tcp"', "services[0].internal_port", "is missing"),
        (
            '[[services]]\ninternal_port = 1\nprotocol = "sctp"',
            "services[0].protocol",
            "use one of tcp, udp",
        ),
        (
            "[[services]]\ninternal_port = 1\n[[services.ports]]\nhandlers = []",
            "services[0].ports[0].port",
            "is missing",
        ),
        (
            "[[services]]\ninternal_port = 1\n[[services.ports]]\nstart_port = 9\nend_port = 8",
            "services[0].ports[0].end_port",
            "below start_port",
        ),
    ],
)
def test_a_service_that_cannot_be_is_refused_by_name(text: str, path: str, says: str) -> None:
    problems = problems_of(text)
    assert list(problems) == [path]
    assert says in problems[path]


@pytest.mark.parametrize(
    "ports",
    [
        "port = 443",
        "start_port = 400\nend_port = 500",
        "start_port = 443",
    ],
)
def test_two_services_of_a_group_cannot_listen_on_one_port(ports: str) -> None:
    text = f"[http_service]\n[[services]]\ninternal_port = 1\n[[services.ports]]\n{ports}"
    ((path, says),) = problems_of(text).items()
    assert "services[0].ports[0]" in path + says
    assert "http_service.ports[1]" in path + says
    assert "tcp port 443" in says


def test_a_wide_range_clashes_with_every_port_inside_it() -> None:
    ranges = [(1, 1000), (5, 6), (50, 60)]
    text = "\n".join(
        "[[services]]\ninternal_port = 1\n[[services.ports]]\n"
        f"start_port = {first}\nend_port = {last}"
        for first, last in ranges
    )
    assert list(problems_of(text)) == ["services[1].ports[0]", "services[2].ports[0]"]


def test_the_same_port_is_no_clash_over_another_protocol_or_in_another_group() -> None:
    udp = '[[services]]\ninternal_port = 1\nprotocol = "udp"\n'
    parse(f"[http_service]\n{udp}{PORTS}")
    groups = '[processes]\na = "a"\nb = "b"\n[http_service]\nprocesses = ["a"]\n'
    parse(f'{groups}[[services]]\ninternal_port = 1\nprocesses = ["b"]\n{PORTS}')
