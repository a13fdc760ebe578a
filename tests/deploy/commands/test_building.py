"""What is to be built, by the command line and fly.toml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from deploy.commands.building import Build, build_of
from deploy.commands.order import order_of
from deploy.commands.target import Target
from deploy.commands.words import run_options
from deploy.errors import UsageProblem
from deploy.flytoml.appconfig import parse

TOML = 'app = "Hello"\n'


def built(*words: str, toml: str = TOML, config_path: str = "") -> Build | None:
    context: click.Context = run_options().make_context("run", list(words))
    options: dict[str, Any] = context.params
    target = Target(
        app="Hello",
        config=parse(toml),
        address="https://machines.test",
        token="fm2_x",  # noqa: S106 - of nobody
        config_path=config_path,
    )
    return build_of(target, order_of(options), options)


def recipe(*words: str, **more: str) -> Any:
    build = built(*words, **more)
    assert build is not None
    return build.recipe


def test_nothing_is_built_unless_it_is_asked_for() -> None:
    assert built() is None
    assert built("-i", "x:1") is None
    assert built(toml=f'{TOML}[build]\nimage = "x:1"\ndockerfile = "web"') is None
    assert built("-i", "x:1", toml=f'{TOML}[build]\ndockerfile = "web"') is None


def test_a_fly_toml_that_says_how_and_names_no_image_is_asking() -> None:
    toml = f'{TOML}[build]\ndockerfile = "docker/web"\nignorefile = "no"\nbuild-target = "prod"'
    found = recipe(toml=toml)
    assert (found.dockerfile, found.ignorefile) == (Path("docker/web"), Path("no"))
    assert (found.context, found.target) == (Path(), "prod")


def test_what_is_built_is_tagged_for_its_deploy_and_pushed_to_fly_for_its_machines() -> None:
    build = built("--build")
    assert build is not None
    assert build.reference == f"registry.fly.io/hello:deployment-{build.deploy_id}"
    assert (build.pushes, build.recipe.platform) == (True, "linux/amd64")
    elsewhere = built("--build", "--registry", "127.0.0.1:5000/team/")
    assert elsewhere is not None
    assert elsewhere.repository == "127.0.0.1:5000/team/hello"
    assert elsewhere.recipe.platform == ""


@pytest.mark.parametrize(
    ("words", "pushes"),
    [
        (["--build"], True),
        (["--build", "--no-push"], False),
        (["--build-only"], False),
        (["--build-only", "--push"], True),
    ],
)
def test_it_is_pushed_unless_nothing_is_deployed(words: list[str], pushes: bool) -> None:
    build = built(*words)
    assert build is not None
    assert build.pushes is pushes


def test_the_context_is_beside_fly_toml_unless_a_directory_is_given() -> None:
    assert recipe("--build").context == Path()
    assert recipe("--build", config_path="conf/fly.toml").context == Path("conf")
    found = recipe("--build", "web")
    assert (found.context, found.dockerfile) == (Path("web"), Path("web/Dockerfile"))


def test_arguments_go_before_those_of_fly_toml_and_a_secret_may_be_a_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NPM", "hidden")
    words = ("--build-arg", "A=1", "--build-secret", "NPM", "--build-secret", "B=2", "--no-cache")
    found = recipe("--build", *words, toml=f'{TOML}[build.args]\nA = "0"\nC = "3"')
    assert found.args == {"A": "1", "C": "3"}
    assert found.secrets == {"NPM": "hidden", "B": "2"}
    assert not found.uses_cache


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--build", "-i", "x:1"), "an image is named, and one is to be built"),
        (("-i", "x:1", "--build-arg", "A=1"), "--build-arg is about a build"),
        (("-i", "x:1", "--build-secret", "A=1"), "--build-secret is about a build"),
        (("-i", "x:1", "--no-cache"), "--no-cache is about a build"),
        (("-i", "x:1", "--push"), "--push is about a build"),
        (("--build", "--build-secret", "NOT_SET"), "there is no variable NOT_SET"),
        (("--build", "--build-secret", "=x"), "it has no name"),
    ],
)
def test_what_makes_no_sense_is_a_usage_problem(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(UsageProblem, match=said):
        built(*words)
