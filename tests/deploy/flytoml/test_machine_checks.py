"""Machine checks: who they try, and what their machines are."""

from __future__ import annotations

import pytest

from deploy.flytoml.appconfig import AppConfigProblem, parse
from deploy.plan.group import MachineCheck

CURL = MachineCheck(init={"cmd": ["curl"]})
TWO = """
[processes]
  web = "serve"
  worker = "work"
[http_service]
  processes = ["web"]
"""


def checks(text: str, group: str = "app") -> tuple[MachineCheck, ...]:
    return next(one for one in parse(text).groups if one.name == group).machine_checks


def test_every_key_is_read() -> None:
    text = """
        [[machine_checks]]
          command = ["-c", "curl localhost"]
          image = "curlimages/curl"
          entrypoint = ["/bin/sh"]
          kill_signal = "SIGKILL"
          kill_timeout = "5s"
    """
    (check,) = checks(text)
    assert check == MachineCheck(
        init={"cmd": ["-c", "curl localhost"], "entrypoint": ["/bin/sh"]},
        image="curlimages/curl",
        stop_config={"signal": "SIGKILL", "timeout": "5s"},
    )
    assert check.command == "/bin/sh -c 'curl localhost'"


def test_at_the_top_they_are_for_every_group_and_in_a_service_for_its_own() -> None:
    text = (
        TWO
        + '[[http_service.machine_checks]]\ncommand = ["http"]\n'
        + '[[services]]\ninternal_port = 1\nprocesses = ["web", "worker"]\n'
        + '[[services.machine_checks]]\ncommand = ["tcp"]\n'
        + '[[machine_checks]]\ncommand = ["all"]\n'
    )
    named = {one: [c.command for c in checks(text, one)] for one in ("web", "worker")}
    assert named == {"web": ["http", "tcp", "all"], "worker": ["tcp", "all"]}
    assert "machine_checks" not in str([group.config for group in parse(text).groups])


def test_without_an_image_of_its_own_one_ends_as_the_app_does() -> None:
    ends = 'kill_signal = "SIGTERM"\nkill_timeout = 7\n[[machine_checks]]\ncommand = ["x"]\n'
    assert checks(ends)[0].stop_config == {"signal": "SIGTERM", "timeout": "7s"}
    assert checks(f'{ends}kill_timeout = "1s"')[0].stop_config == {
        "signal": "SIGTERM",
        "timeout": "1s",
    }
    assert checks(f'{ends}image = "curl"')[0].stop_config == {}


def test_two_that_say_the_same_are_one() -> None:
    twice = '[[machine_checks]]\ncommand = ["curl"]\n' * 2
    assert checks(f"[http_service]\n{twice.replace('[[', '[[http_service.')}{twice}") == (CURL,)


def test_without_any_there_are_none() -> None:
    assert checks("") == checks("machine_checks = []") == ()


@pytest.mark.parametrize(
    ("text", "path", "says"),
    [
        ("[[machine_checks]]", "machine_checks[0].command", "is missing"),
        ("[[machine_checks]]\ncommand = []", "machine_checks[0].command", "is empty"),
        ('[[machine_checks]]\ncommand = "curl"', "machine_checks[0].command", '["one", "two"]'),
        ("machine_checks = 1", "machine_checks", "write [[machine_checks]]"),
        (
            '[[machine_checks]]\ncommand = ["x"]\nprocesses = ["app"]',
            "machine_checks[0].processes",
            "not a key",
        ),
        (
            '[http_service]\n[[http_service.machine_checks]]\ncommand = ["x"]\nimge = "y"',
            "http_service.machine_checks[0].imge",
            'did you mean "image"?',
        ),
        (
            "[[services]]\ninternal_port = 1\n[[services.machine_checks]]\nkill_timeout = true",
            "services[0].machine_checks[0].kill_timeout",
            "a duration",
        ),
        (
            '[[machine_checks]]\ncommand = ["x"]\nkill_signal = "SIGFOO"',
            "machine_checks[0].kill_signal",
            'did you mean "SIGSTOP"?',
        ),
    ],
)
def test_one_that_cannot_be_is_refused_by_name(text: str, path: str, says: str) -> None:
    with pytest.raises(AppConfigProblem) as caught:
        parse(text)
    assert says in {each.path: str(each) for each in caught.value.problems}[path]
