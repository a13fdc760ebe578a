import pytest

from deploy.flytoml.appconfig import parse
from tests.deploy.flytoml.texts import config_of, problems_of


def test_a_service_check_becomes_the_wires_with_durations_as_text() -> None:
    text = """
        [http_service]
          [[http_service.checks]]
            grace_period = "1m30s"
            interval = 15000
            timeout = 500
            method = "get"
            path = "/healthz"
            protocol = "https"
            tls_skip_verify = true
            tls_server_name = "hello.example"
            headers = { Host = "hello", Retry = 3 }
    """
    (service,) = config_of(text)["services"]
    assert service["checks"] == [
        {
            "type": "http",
            "interval": "15s",
            "timeout": "500ms",
            "grace_period": "1m30s",
            "method": "GET",
            "path": "/healthz",
            "protocol": "https",
            "tls_skip_verify": True,
            "tls_server_name": "hello.example",
            "headers": [
                {"name": "Host", "values": ["hello"]},
                {"name": "Retry", "values": ["3"]},
            ],
        }
    ]
    assert parse(text).groups[0].has_checks


def test_tcp_checks_of_a_service_come_before_its_http_checks() -> None:
    text = """
        [[services]]
          internal_port = 80
          [[services.http_checks]]
            restart_limit = 0
            headers = [{ name = "Host", value = "hello" }]
          [[services.tcp_checks]]
            grace_period = ""
    """
    (service,) = config_of(text)["services"]
    assert service["checks"] == [
        {"type": "tcp"},
        {"type": "http", "headers": [{"name": "Host", "values": ["hello"]}]},
    ]


def test_named_checks_go_to_the_groups_they_name_and_else_to_the_default_one() -> None:
    text = """
        [processes]
          worker = "w"
          app = "a"
        [checks.alive]
          type = "tcp"
          port = 9000
          path = "/means/nothing/here"
          interval = "15s"
        [checks.status]
          type = "http"
          port = 9001
          path = "/status"
          processes = ["worker"]
    """
    assert config_of(text)["checks"] == {"alive": {"type": "tcp", "port": 9000, "interval": "15s"}}
    worker = config_of(text, "worker")["checks"]
    assert worker == {"status": {"type": "http", "port": 9001, "path": "/status"}}
    assert all(group.has_checks for group in parse(text).groups)


def test_a_check_without_a_port_takes_that_of_its_groups_http_service() -> None:
    check = '[checks.alive]\ntype = "tcp"\n'
    assert config_of(f"[http_service]\ninternal_port = 3000\n{check}")["checks"] == {
        "alive": {"type": "tcp", "port": 3000}
    }
    groups = '[processes]\nweb = "w"\nworker = "x"\n[http_service]\nprocesses = ["web"]\n'
    elsewhere = problems_of(f'{groups}{check}processes = ["web", "worker"]')
    assert list(elsewhere) == ["checks.alive.port"]


@pytest.mark.parametrize(
    ("said", "path", "says"),
    [
        ("port = 1", "type", 'write type = "http"'),
        ('type = "https"\nport = 1', "type", 'did you mean "http"?'),
        ('type = "http"', "port", "is missing"),
        ('type = "http"\nport = 65536', "port", "from 1 to 65535"),
        ('type = "http"\nport = "http"', "port", "a whole number"),
        ('type = "tcp"\nport = 1\nintervall = 5', "intervall", 'did you mean "interval"?'),
        ('type = "tcp"\nport = 1\ninterval = 1999', "interval", 'write "2s" or more'),
        ('type = "tcp"\nport = 1\ntimeout = "61s"', "timeout", 'write "60s" or less'),
        ('type = "tcp"\nport = 1\ntimeout = "0s"', "timeout", "out of range"),
        ('type = "tcp"\nport = 1\ngrace_period = -1', "grace_period", "out of range"),
        ('type = "tcp"\nport = 1\ninterval = "soon"', "interval", 'such as "15s"'),
        ('type = "tcp"\nport = 1\ninterval = 1.5', "interval", "a fraction"),
        ('type = "http"\nport = 1\nprotocol = "h2"', "protocol", "http, https"),
        ('type = "http"\nport = 1\nheaders = 1', "headers", "[checks.alive.headers]"),
        ('type = "http"\nport = 1\nheaders.A = []', "headers.A", "is a list"),
        ('type = "tcp"\nport = 1\nprocesses = ["web"]', "processes", "not a process group"),
    ],
)
def test_a_check_that_cannot_be_is_refused_by_name(said: str, path: str, says: str) -> None:
    problems = problems_of(f"[checks.alive]\n{said}")
    assert list(problems) == [f"checks.alive.{path}"]
    assert says in problems[f"checks.alive.{path}"]
