"""Files of any bytes: a result or an error that names the place, in little time and memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from deploy.commands.target import read_config
from deploy.errors import DeployError, UsageProblem
from rollout import Flags, RolloutError
from tests.hostile.test_size import LIMIT_MB
from tests.worlds.outside import FLY_TOML, clean_environ

FLAGS = """version: 1
flags:
  deploy-retries:
    owner: o
    expires: 2027-03-31
    bucket_by: app
    percent: 5
    inside: 5
    outside: 0
    ramp: [{at: 2026-01-01T00:00:00Z, percent: 1}]
"""
QUICKLY = settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{new}: &{new} [{','.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


def changed(text: str) -> st.SearchStrategy[bytes]:
    """The text with a piece of it replaced by other bytes."""
    data = text.encode()
    places = st.tuples(st.integers(0, len(data)), st.integers(0, 12))
    pieces = st.binary(max_size=8) | st.sampled_from(
        [
            b"[",
            b"]",
            b"{",
            b"}",
            b"\n",
            b"\t",
            b'"',
            b"'",
            b"&a ",
            b"*a",
            b"!!",
            b"<<: ",
            b"\x00",
            b"=",
            b"[[",
            b"1e999",
            b"0x",
            b"-",
            b"nan",
            b".inf",
            b"9" * 5000,
            b"\xff",
            b"\xf0\x9f",
            b"\xef\xbb\xbf",
            b"2026-02-30",
            b"99999999999s",
            b"1_0",
            b"---\n",
            b"...\n",
            b"%YAML 9\n",
        ]
    )
    return st.builds(
        lambda place, piece: data[: place[0]] + piece + data[place[0] + place[1] :], places, pieces
    )


@QUICKLY
@given(changed(FLY_TOML.replace("{python}", "python")) | st.binary())
@example(b"a = " + b"[" * 100_000)
@example(b"a." * 20_000 + b"b = 1")
@example(b"\n" * (1 << 20) + b"x")
def test_any_fly_toml_is_a_configuration_or_a_problem(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "fly.toml").write_bytes(data)
    problem = _raised(DeployError, lambda: read_config(tmp_path / "fly.toml"))
    assert problem is None or "fly.toml" in str(problem)


def sparse(path: Path) -> None:
    path.touch()
    os.truncate(path, 700 << 20)


# What a path can lead to, and what the error says of it.
NO_FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "700 MB": (sparse, "over 1 MiB"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "not a regular file"),
    "a pipe": (os.mkfifo, "not a regular file"),
    "a directory": (Path.mkdir, "a directory"),
    "a link to itself": (lambda path: path.symlink_to(path.name), "symbolic links"),
}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", NO_FILES)
@pytest.mark.parametrize("name", ["fly.toml", "local.conf"])
def test_what_is_no_file_or_too_large_is_refused_unread(
    name: str, kind: str, tmp_path: Path
) -> None:
    make, words = NO_FILES[kind]
    files = '[[files]]\nguest_path = "/etc/x"\nlocal_path = "local.conf"\n'
    if name != "fly.toml":
        (tmp_path / "fly.toml").write_text(files)
    make(tmp_path / name)
    tracemalloc.start()
    try:
        with pytest.raises(UsageProblem, match=words) as caught:
            read_config(tmp_path / "fly.toml")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 8 << 20
    assert str(tmp_path / "fly.toml") in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint


@QUICKLY
@given(changed(FLAGS) | st.binary())
@example(BOMB.encode())
@example(b"[" * 100_000)
@example(b"? " * 50_000)
@example(b"a: " * 10_000)
@example(b"{" * 300 + b"}" * 300)
def test_any_flags_are_flags_or_a_problem(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "flags.yaml").write_bytes(data)
    problem = _raised(RolloutError, lambda: Flags.load(tmp_path / "flags.yaml"))
    assert problem is None or str(problem)


@pytest.mark.parametrize(
    "data",
    [BOMB.encode(), b"[" * 1_000_000, b"- " * 500_000, b"a: b\n" * 200_000, b"x" * (64 << 20)],
    ids=["bomb", "brackets", "dashes", "repeats", "long"],
)
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("flags.yaml", ["rollout.cli", "check", "flags.yaml"]),
        ("fly.toml", ["deploy.cli", "plan", "--image", "x:1"]),
    ],
)
def test_a_command_refuses_a_bad_file_within_200_mb(
    name: str, words: list[str], data: bytes, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(data)
    program = (
        "import atexit, re, sys; from pathlib import Path\n"
        "def peak():\n"
        "    return int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])\n"
        "atexit.register(lambda: print('peak', peak() // 1024, file=sys.stderr))\n"
        "import importlib; importlib.import_module(sys.argv.pop(1)).main()\n"
    )
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc here to read the peak from")
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        check=False,
        cwd=tmp_path,
        env=clean_environ(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
    )
    *said, peak = done.stderr.splitlines()
    assert done.returncode in (1, 2), done
    assert "Traceback" not in done.stderr
    assert "itself failed" not in done.stderr
    assert said or done.stdout
    assert len(done.stderr + done.stdout) < 20_000
    assert int(peak.split()[1]) < LIMIT_MB


def _raised(kind: type[Exception], read: Callable[[], object]) -> Exception | None:
    """The error of that kind that `read` ends with; any other is the test's end."""
    try:
        read()
    except kind as problem:
        return problem
    return None
