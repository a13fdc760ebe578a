"""Requests to an app for as long as a block runs, each with its own moment and fate.

Unlike the demo's traffic it keeps *when* a request was under way, because a
machine that is killed may take exactly the requests with it that it had.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

EVERY_S = 0.1
PATHS = ("/", "/slow")  # /slow is half a second under way
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Failure:
    """A request without a good answer; times are monotonic seconds."""

    began_s: float
    ended_s: float
    why: str

    def was_under_way(self, moment_s: float) -> bool:
        return self.began_s <= moment_s <= self.ended_s


@dataclass
class Load:
    """What became of the requests so far."""

    answered: int = 0
    images: set[str] = field(default_factory=set)
    failures: list[Failure] = field(default_factory=list)


@contextmanager
def steady(host: str, port: int) -> Iterator[Load]:
    """One request after the other on each of PATHS; every one opens its own connection."""
    load, over = Load(), threading.Event()

    def ask_on(path: str) -> None:
        while not over.wait(EVERY_S):
            began_s = time.monotonic()
            image, why = _ask(host, port, path)
            if why:
                load.failures.append(Failure(began_s, time.monotonic(), f"GET {path}: {why}"))
            else:
                load.answered += 1
                load.images.add(image)

    askers = [threading.Thread(target=ask_on, args=(path,)) for path in PATHS]
    for asker in askers:
        asker.start()
    try:
        yield load
    finally:
        over.set()
        for asker in askers:
            asker.join()


def _ask(host: str, port: int, path: str) -> tuple[str, str]:
    """(the image that answered, "") or ("", what went wrong)."""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as failure:
        return "", f"{type(failure).__name__}: {failure}"
    finally:
        connection.close()
    words = text.split()
    if answer.status != 200 or words[:1] != ["image"]:
        return "", f"status {answer.status}: {text[:200]}"
    return words[1], ""
