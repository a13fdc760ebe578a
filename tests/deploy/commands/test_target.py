from __future__ import annotations

import base64
from pathlib import Path

import pytest

from deploy.commands.target import Target, find_target, read_address, read_token
from deploy.errors import UsageProblem

LOOPBACK = {"FLY_FLAPS_BASE_URL": "http://127.0.0.1:4280"}


def target(
    directory: Path,
    *,
    app: str | None = None,
    config_path: Path | None = None,
    needs_config: bool = True,
    **environ: str,
) -> Target:
    return find_target(
        directory,
        app=app,
        config_path=config_path,
        environ={**LOOPBACK, **environ},
        needs_config=needs_config,
    )


def test_the_option_comes_before_the_environment_and_that_before_fly_toml(tmp_path: Path) -> None:
    (tmp_path / "fly.toml").write_text('app = "toml"\n')
    assert target(tmp_path, app="option", FLY_APP="environment").app == "option"
    assert target(tmp_path, FLY_APP="environment").app == "environment"
    assert target(tmp_path).app == "toml"
    (tmp_path / "fly.toml").write_text("")
    assert target(tmp_path, FLY_APP="environment").app == "environment"


def test_an_app_that_nobody_names_is_an_error_that_says_three_places(tmp_path: Path) -> None:
    (tmp_path / "fly.toml").write_text("")
    with pytest.raises(UsageProblem) as caught:
        target(tmp_path)
    for place in ("--app", "fly.toml", "FLY_APP"):
        assert place in caught.value.hint


def test_fly_config_names_another_file_and_the_option_goes_before_it(tmp_path: Path) -> None:
    for name in ("staging", "other"):
        (tmp_path / f"{name}.toml").write_text(f'app = "{name}"\n')
    staging = str(tmp_path / "staging.toml")
    assert target(tmp_path, FLY_CONFIG=staging).app == "staging"
    option = target(tmp_path, config_path=tmp_path / "other.toml", FLY_CONFIG=staging)
    assert option.app == "other"


@pytest.mark.parametrize(
    ("name", "hint"), [("fly.toml", "--config"), ("worker=1", "one GROUP=N"), ("nowhere", "DIR")]
)
def test_a_directory_that_is_none_is_refused_with_what_was_meant(
    tmp_path: Path, name: str, hint: str
) -> None:
    (tmp_path / "fly.toml").write_text('app = "hello"\n')
    with pytest.raises(UsageProblem, match="there is no directory") as caught:
        target(tmp_path / name, app="hello", needs_config=False)
    assert hint in caught.value.hint


def test_a_command_that_needs_no_configuration_does_without(tmp_path: Path) -> None:
    assert target(tmp_path, app="hello", needs_config=False).config is None
    with pytest.raises(UsageProblem, match="does not exist"):
        target(tmp_path, app="hello")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff\xfe", "UTF-8"),
        (b"app = ", "fly.toml"),
        (b"#" * (1024 * 1024 + 1), "1 MiB"),
        (b'app = "x"\n[deploy]\nstrategy = "blue"\n', "strategy"),
    ],
    ids=["bytes", "no TOML", "too long", "strategy"],
)
def test_a_fly_toml_that_cannot_be_used_is_a_usage_problem(
    tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / "fly.toml").write_bytes(content)
    with pytest.raises(UsageProblem, match=words):
        target(tmp_path)


def test_a_directory_in_place_of_the_file_is_a_usage_problem(tmp_path: Path) -> None:
    (tmp_path / "fly.toml").mkdir()
    with pytest.raises(UsageProblem, match="cannot be read"):
        target(tmp_path)


FILES = '[[files]]\nguest_path = "/{name}"\nlocal_path = "{name}"\n'


def test_local_files_are_read_beside_fly_toml_through_links(tmp_path: Path) -> None:
    (tmp_path / "fly.toml").write_text('app = "x"\n' + FILES.format(name="link"))
    (tmp_path / "conf").write_bytes(b"\0content")
    (tmp_path / "link").symlink_to("conf")
    config = target(tmp_path).config
    assert config is not None
    (file,) = config.groups[0].config["files"]
    assert base64.b64decode(file["raw_value"]) == b"\0content"


def test_local_files_are_at_most_1_mib_together(tmp_path: Path) -> None:
    (tmp_path / "fly.toml").write_text(
        'app = "x"\n' + FILES.format(name="one") + FILES.format(name="two")
    )
    (tmp_path / "one").write_bytes(b"1" * 2**19)
    (tmp_path / "two").write_bytes(b"2" * 2**19)
    assert target(tmp_path).config
    (tmp_path / "two").write_bytes(b"2" * (2**19 + 1))
    with pytest.raises(UsageProblem, match=r"files\[1\]\.local_path: .*over 1 MiB") as caught:
        target(tmp_path)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("https://api.machines.dev", "https://api.machines.dev"),
        ("https://api.machines.dev/v1/", "https://api.machines.dev"),
        ("http://127.0.0.1:4280/", "http://127.0.0.1:4280"),
        ("http://[::1]:4280", "http://[::1]:4280"),
        ("http://localhost:1", "http://localhost:1"),
        ("http://127.9.9.9", "http://127.9.9.9"),
    ],
)
def test_an_address_is_https_or_the_loopback(address: str, kept: str) -> None:
    assert read_address(address) == kept


@pytest.mark.parametrize(
    "address",
    [
        "http://api.machines.dev",
        "http://10.0.0.1",
        "http://127.0.0.1.evil.test",
        "http://localhost.evil.test",
        "https://user@api.machines.dev",
        "https://api.machines.dev?x=1",
        "ftp://127.0.0.1",
        "api.machines.dev",
        "https://",
        "https://api:port",
        "https://[::1",
        "",
    ],
)
def test_any_other_address_gets_no_token(address: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        read_address(address)
    assert caught.value.hint


def test_a_token_is_needed_everywhere_but_on_the_loopback() -> None:
    assert read_token("http://127.0.0.1:1", {}) == ""
    assert read_token("https://api.machines.dev", {"FLY_API_TOKEN": " fo1_x\n"}) == "fo1_x"
    with pytest.raises(UsageProblem, match="FLY_API_TOKEN"):
        read_token("https://api.machines.dev", {})


@pytest.mark.parametrize("token", ["fo1_\nx", "fo1_é", "a\tb"])
def test_a_token_that_no_header_can_carry_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        read_token("https://api.machines.dev", {"FLY_API_TOKEN": token})
    assert token not in str(caught.value) + caught.value.hint
