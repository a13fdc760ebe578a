"""Flags over HTTP: what a server may do, and what a deploy then gets, within a second."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from rollout import BadFlagFile, Flags, RolloutError, SourceProblem
from rollout.cli import cli
from rollout.file.flagfile import LARGEST_BYTES
from rollout.sources import source
from rollout.sources.text import Text
from tests.rollout.servers import Behave, Server, response, saying, serving, with_etag

TEXT = b"version: 1\nflags:\n  a: {bucket_by: app, percent: 5, inside: 5, outside: 0}\n"
NEWER = TEXT.replace(b"percent: 5", b"percent: 6")
GOOD = response(TEXT)
PATIENCE_S = 1.8
"""A second for the server, and room for a busy machine."""


@pytest.fixture(autouse=True)
def cache_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return tmp_path / "cache" / "tidegate" / "flags"


@pytest.fixture
def server() -> Iterator[Server]:
    with serving(saying(GOOD)) as server:
        yield server


@pytest.fixture
def kept(server: Server) -> Server:
    """A server of which a good copy is kept, 3 hours old."""
    source.read(server.url)
    return server


def grow_old(cache_dir: Path, age_s: float) -> None:
    (path,) = cache_dir.iterdir()
    os.utime(path, (time.time() - age_s,) * 2)


def no_thread_is_left() -> bool:
    deadline = time.monotonic() + 2
    while any(thread.name == "tidegate-fetch" for thread in threading.enumerate()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def test_it_is_read_and_says_from_where_and_when(server: Server) -> None:
    assert source.read(server.url) == Text(TEXT, f"{server.url} as of now")
    assert Flags.load(server.url).evaluate("a", app="hello").percent == "5"


def test_what_has_not_changed_is_not_sent_again(server: Server, cache_dir: Path) -> None:
    server.behave = with_etag(TEXT, '"v1"')
    source.read(server.url)
    grow_old(cache_dir, 7200)
    assert source.read(server.url) == Text(TEXT, f"{server.url} as of now")
    assert "if-none-match" not in server.heads[0].lower()
    assert 'if-none-match: "v1"' in server.heads[1].lower()
    server.behave = saying(b"")
    assert " as of 0 s ago " in source.read(server.url).source  # 304 made it young again


def test_an_etag_that_no_request_can_carry_keeps_no_bump_away(server: Server) -> None:
    server.behave = saying(response(TEXT, ETag='"v\xe9"'))
    source.read(server.url)
    server.behave = with_etag(NEWER, '"v2"')
    assert source.read(server.url) == Text(NEWER, f"{server.url} as of now")
    assert "if-none-match" not in server.heads[1].lower()


def test_another_etag_for_the_same_text_is_the_one_that_is_sent_next(server: Server) -> None:
    for etag in ('"v1"', '"v2"'):
        server.behave = with_etag(TEXT, etag)
        source.read(server.url)
    source.read(server.url)
    assert 'if-none-match: "v2"' in server.heads[2].lower()


def test_a_bump_is_seen_at_once(server: Server) -> None:
    server.behave = with_etag(TEXT, '"v1"')
    source.read(server.url)
    server.behave = with_etag(NEWER, '"v2"')
    assert source.read(server.url).data == NEWER
    server.behave = saying(b"")
    assert source.read(server.url).data == NEWER


def drip(data: bytes, first: int) -> Behave:
    """Sends `first` bytes, then one every 50 ms, which no timeout of a single read ends."""

    def behave(connection: socket.socket, _: str) -> None:
        connection.sendall(data[:first])
        for byte in data[first:] * 100:
            time.sleep(0.05)
            connection.sendall(bytes([byte]))

    return behave


def hang(connection: socket.socket, _: str) -> None:
    connection.recv(1)


def endless(connection: socket.socket, _: str) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"10000\r\n" + b"#" * 65536 + b"\r\n")


BOMB = gzip.compress(bytes(300 << 20), 9)
LATE = "did not answer within 1 s"
FAILURES: dict[str, tuple[Behave, str]] = {
    "hangs": (hang, LATE),
    "drips its head": (drip(GOOD, 9), LATE),
    "drips its body": (drip(response(TEXT, length=9999), 80), LATE),
    "answers HTML": (
        saying(response(b"hello", Content_Type="text/html; charset=utf-8")),
        "answers with a web page, not with a flags file",
    ),
    "answers HTML as text": (
        saying(response(b"\n<!doctype html>")),
        "answers with a web page, not with a flags file",
    ),
    "answers 500": (saying(response(TEXT, "500 Oh No")), "answers 500 Oh No"),
    "answers 404": (saying(response(b"", "404 Not Found")), "answers 404 Not Found"),
    "answers 206": (saying(response(TEXT, "206 Partial Content")), "answers 206 Partial Content"),
    "says nothing": (saying(b""), "sent no whole HTTP answer"),
    "speaks another protocol": (saying(b"SSH-2.0-x\r\n\r\n"), "sent no whole HTTP answer"),
    "cuts its body": (saying(response(TEXT, length=len(TEXT) + 1)), "sent no whole HTTP answer"),
    "is too long": (
        saying(response(b"#" * (LARGEST_BYTES + 1))),
        "sends more than 1,048,576 bytes",
    ),
    "never ends": (endless, "sends more than 1,048,576 bytes"),
    "sends a bomb": (
        saying(response(BOMB, Content_Encoding="gzip")),
        "sends more than 1,048,576 bytes",
    ),
    "sends broken gzip": (
        saying(response(TEXT, Content_Encoding="gzip")),
        "sends gzip that cannot be unpacked",
    ),
    "cuts its gzip": (
        saying(response(gzip.compress(TEXT)[:-9], Content_Encoding="gzip")),
        "sent no whole answer",
    ),
    "packs in its own way": (
        saying(response(TEXT, Content_Encoding="br")),
        "answers in an encoding that was not asked for, br",
    ),
    "redirects to plain http elsewhere": (
        saying(response(b"", "302 Found", Location="http://192.0.2.1/flags.yaml")),
        "redirects to plain http on another machine",
    ),
    "redirects to another scheme": (
        saying(response(b"", "302 Found", Location="https://127.0.0.1/flags.yaml")),
        "redirects to another scheme, https",
    ),
    "redirects to a file": (
        saying(response(b"", "302 Found", Location="file:///etc/passwd")),
        "redirects to another scheme, file",
    ),
    "redirects for ever": (
        saying(response(b"", "302 Found", Location="/again")),
        "redirects more than 5 times",
    ),
}


@pytest.mark.parametrize(("behave", "said"), FAILURES.values(), ids=FAILURES)
def test_a_server_that_fails_costs_a_second_and_the_last_good_copy_is_used(
    behave: Behave, said: str, kept: Server, cache_dir: Path
) -> None:
    grow_old(cache_dir, 3 * 3600 + 5)
    kept.behave = behave
    began = time.monotonic()
    text = source.read(kept.url)
    assert time.monotonic() - began < PATIENCE_S
    assert text == Text(
        TEXT, f"{kept.url} as of 3 h ago (it {said})", problem=f"{kept.url}: it {said}"
    )
    assert no_thread_is_left()


@pytest.mark.parametrize(("behave", "said"), FAILURES.values(), ids=FAILURES)
def test_without_a_copy_it_is_one_clear_line(behave: Behave, said: str, server: Server) -> None:
    server.behave = behave
    with pytest.raises(SourceProblem) as caught:
        source.read(server.url)
    assert caught.value.message == f"{server.url} {said}"
    assert "\n" not in caught.value.message
    assert caught.value.hint
    assert no_thread_is_left()


def test_nobody_there_is_one_clear_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"http://127.0.0.1:{free.getsockname()[1]}/flags.yaml"
    with pytest.raises(SourceProblem, match=r"cannot be reached: Connection refused$"):
        source.read(url)


def test_a_name_that_takes_for_ever_costs_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    found = threading.Event()

    def lookup(*_: object, **__: object) -> list[object]:
        found.wait(30)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    began = time.monotonic()
    with pytest.raises(SourceProblem, match=LATE):
        source.read("https://flags.example/flags.yaml")
    assert time.monotonic() - began < PATIENCE_S
    found.set()
    assert no_thread_is_left()


def test_a_copy_that_does_not_parse_never_replaces_a_good_one(
    kept: Server, cache_dir: Path
) -> None:
    kept.behave = saying(response(TEXT.replace(b"percent: 5", b"percent: 101"), ETag='"bad"'))
    grow_old(cache_dir, 90)
    for _ in range(2):
        text = source.read(kept.url)
        assert text.data == TEXT
        assert text.source == (
            f"{kept.url} as of 1 min ago (line 3 of it now: a: percent: 101 is over 100)"
        )
    assert "bad" not in kept.heads[-1]
    flags = Flags.load(kept.url)
    assert (flags["a"].rollout, flags.source) == (5000, text.source)


def test_a_first_copy_that_does_not_parse_shows_every_problem(server: Server) -> None:
    server.behave = saying(response(b"version: 2\n"))
    with pytest.raises(BadFlagFile) as caught:
        source.read(server.url)
    assert len(caught.value.problems) == 2
    assert caught.value.message == f"{server.url}:1:1: flags is missing (and 1 more)"


def test_what_lies_beyond_the_length_stated_is_not_read(server: Server) -> None:
    server.behave = saying(response(TEXT + b"  b: {}\n", length=len(TEXT)))
    assert source.read(server.url).data == TEXT


def test_a_bomb_takes_little_memory(server: Server) -> None:
    server.behave = saying(response(BOMB, Content_Encoding="gzip"))
    tracemalloc.start()
    try:
        with pytest.raises(SourceProblem, match="sends more than"):
            source.read(server.url)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 20 << 20


def test_gzip_is_understood(server: Server) -> None:
    server.behave = saying(response(gzip.compress(TEXT), Content_Encoding="gzip"))
    assert source.read(server.url).data == TEXT
    assert "accept-encoding: gzip\r\n" in server.heads[0].lower()


def test_a_redirect_on_the_same_scheme_is_followed(server: Server) -> None:
    with serving(saying(response(b"", "302 Found", Location=server.url))) as other:
        assert source.read(other.url) == Text(TEXT, f"{other.url} as of now")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://flags.example/f", "http://flags.example/f is plain http to another machine"),
        ("http://127.0.0.1.evil.example/", "is plain http to another machine"),
        ("http://me:secret@8.8.8.8/?token=secret", "http://8.8.8.8/?... is plain http to another"),
        ("ftp://host/f", "ftp://host/f is neither a path nor an address"),
        ("://", "is neither a path nor an address"),
        ("https://", "https:// names no host"),
        ("https://[::1/f", "is no address: Invalid IPv6 URL"),
        ("https://host:99999/f", "is no address: Port out of range 0-65535"),
        ("https://a b/f", '"https://a b/f" cannot be reached: '),
        ("https://\udcff/f", "cannot be reached: "),
    ],
)
def test_an_address_that_cannot_be_used_is_one_clear_line(url: str, said: str) -> None:
    with pytest.raises(SourceProblem) as caught:
        source.read(url)
    assert said in caught.value.message
    assert "secret" not in caught.value.message
    assert caught.value.message.isprintable()


def test_secrets_in_the_address_are_used_and_not_shown(server: Server, cache_dir: Path) -> None:
    url = server.url.replace("//", "//me:secret@") + "?token=secret"
    text = source.read(url)
    assert text.source == f"{server.url}?... as of now"
    assert "Authorization: Basic bWU6c2VjcmV0" in server.heads[0]
    assert "?token=secret" in server.heads[0]
    assert all(b"secret" not in path.read_bytes() for path in cache_dir.iterdir())


def test_a_proxy_of_the_environment_is_used(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    assert source.read("http://127.0.0.1:9/f").data == TEXT
    assert server.heads[0].startswith("GET http://127.0.0.1:9/f HTTP/1.1")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_server(authority: trustme.CA) -> Iterator[Server]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with serving(saying(GOOD), context) as server:
        yield server


def test_certificates_of_the_environment_are_trusted_and_no_others(
    tls_server: Server, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SourceProblem, match=r"certificate verify failed: [^(]*$"):
        source.read(tls_server.url)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    assert source.read(tls_server.url).data == TEXT
    tls_server.behave = saying(response(b"", "302 Found", Location="http://127.0.0.1/f"))
    assert "redirects to another scheme, http)" in source.read(tls_server.url).source
    tls_server.behave = drip(GOOD, 9)
    began = time.monotonic()
    assert LATE in source.read(tls_server.url).source
    assert time.monotonic() - began < PATIENCE_S
    assert no_thread_is_left()


def test_a_handshake_that_never_comes_costs_a_second() -> None:
    with serving(hang) as server:
        with pytest.raises(SourceProblem, match=LATE):
            source.read(server.url.replace("http:", "https:"))
        assert no_thread_is_left()


def test_it_can_be_called_from_an_async_program(server: Server) -> None:
    async def program() -> Flags:
        return Flags.load(server.url)

    assert list(asyncio.run(program())) == ["a"]


def test_the_copy_is_private(kept: Server, cache_dir: Path) -> None:
    (path,) = cache_dir.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert cache_dir.stat().st_mode & 0o777 == 0o700
    cache_dir.chmod(0o777)
    kept.behave = saying(response(NEWER))
    source.read(kept.url)
    assert cache_dir.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    "harm",
    [
        lambda data: data[:-1],
        lambda data: data + b"#",
        lambda _: b"",
        lambda data: b"\0\n" + data,
        lambda data: b"[]\n" + data,
        lambda _: b'{"sha256": 1}\n',
    ],
)
def test_a_torn_copy_is_no_copy(
    harm: Callable[[bytes], bytes], kept: Server, cache_dir: Path
) -> None:
    (path,) = cache_dir.iterdir()
    path.write_bytes(harm(path.read_bytes()))
    kept.behave = saying(b"")
    with pytest.raises(SourceProblem, match="sent no whole HTTP answer"):
        source.read(kept.url)
    kept.behave = saying(GOOD)
    assert source.read(kept.url).data == TEXT


def test_what_a_killed_writer_left_is_swept_away(kept: Server, cache_dir: Path) -> None:
    old, new = cache_dir / "x.1.tmp", cache_dir / "x.2.tmp"
    for path in (old, new):
        path.touch()
    os.utime(old, (time.time() - 4000,) * 2)
    kept.behave = saying(response(NEWER))
    source.read(kept.url)
    assert (old.exists(), new.exists()) == (False, True)


def test_a_cache_that_cannot_be_used_is_no_error(
    server: Server, cache_dir: Path, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file where the directory should be")
    assert source.read(server.url).data == TEXT
    (tmp_path / "cache").unlink()
    cache_dir.parent.mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    cache_dir.symlink_to(tmp_path / "elsewhere")
    assert source.read(server.url).data == TEXT
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(
    ("age_s", "said"),
    [
        (0, "0 s ago"),
        (59.5, "59 s ago"),
        (61, "1 min ago"),
        (7199, "1 h ago"),
        (200_000, "2 d ago"),
        (-90_000, "an unknown time, for the clock was set back"),
    ],
)
def test_the_age_of_a_copy_is_said_whatever_the_clock_shows(
    age_s: float, said: str, kept: Server, cache_dir: Path
) -> None:
    kept.behave = saying(b"")
    grow_old(cache_dir, age_s)
    assert f" as of {said} (it " in source.read(kept.url).source


def test_threads_that_read_while_it_changes_see_whole_texts(server: Server) -> None:
    texts = [TEXT.replace(b"percent: 5", b"percent: %d" % number) for number in range(40)]
    turn = iter(range(10_000))

    def behave(connection: socket.socket, _: str) -> None:
        number = next(turn)
        connection.sendall(b"" if number % 3 == 0 else response(texts[number % 40]))

    source.read(server.url)
    server.behave = behave
    with ThreadPoolExecutor(6) as pool:
        seen = list(pool.map(lambda _: source.read(server.url).data, range(60)))
    assert set(seen) <= set(texts)


def test_a_process_killed_while_it_reads_corrupts_nothing(kept: Server) -> None:
    kept.behave = lambda connection, _: connection.sendall(
        response(TEXT + b"#" * int.from_bytes(os.urandom(2)))
    )
    program = (
        f"from rollout import source\nwhile True: print(len(source.read({kept.url!r}).data), "
        "flush=True)"
    )
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
        assert process.stdout
        process.stdout.readline()
        process.kill()
        process.communicate()
    kept.behave = saying(b"")
    assert source.read(kept.url).data.rstrip(b"#") == TEXT


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300), st.booleans())
@example(b"HTTP/1.1 200 OK\r\nContent-Encoding: \xff\r\n\r\n", True)
@example(b"HTTP/1.1 302 Found\r\nLocation: http://[\r\n\r\n", True)
@example(b"HTTP/1.1 302 Found\r\nLocation: \xff://\xff\r\n\r\n", True)
def test_no_answer_makes_it_raise_anything_else(server: Server, data: bytes, is_raw: bool) -> None:
    server.behave = saying(data if is_raw else response(data))
    with contextlib.suppress(RolloutError):
        source.read(server.url)


def test_a_decision_says_which_source_and_how_old(kept: Server, cache_dir: Path) -> None:
    grow_old(cache_dir, 7300)
    broken = (saying(b""), "2 h ago (it sent no whole HTTP answer)")
    for behave, age in (broken, (saying(GOOD), "now")):
        kept.behave = behave
        asked = ["explain", "a", "--unit", "hello", "--file", kept.url]
        result = CliRunner().invoke(cli, asked, prog_name="rollout")
        assert result.exit_code == 0
        assert result.output.splitlines()[1:] == [f"according to {kept.url} as of {age}"]


def test_a_file_on_disk_needs_no_word_about_its_age(tmp_path: Path) -> None:
    path = tmp_path / "flags.yaml"
    path.write_bytes(TEXT)
    asked = ["explain", "a", "--unit", "hello", "--file", str(path)]
    assert len(CliRunner().invoke(cli, asked).output.splitlines()) == 1


def test_the_command_reads_no_environment_variable(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It works on the checkout; only what runs beside it asks ROLLOUT_FLAGS."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROLLOUT_FLAGS", server.url)
    result = CliRunner().invoke(cli, ["list"])
    assert result.exit_code == 2
    assert "flags.yaml does not exist" in result.output
