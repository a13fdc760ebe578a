"""Steady requests through the router, counted: how many, how many failed, who answered.

Every request opens a connection of its own, so that each one is routed anew.
Knows HTTP, and nothing of deploys.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

WORKERS = 4
EVERY_S = 0.1  # per worker: about 40 requests a second in all
TIMEOUT_S = 10.0


@dataclass
class Tally:
    """What became of the requests of one act; `by_image` counts the answers."""

    sent: int = 0
    failed: int = 0
    by_image: Counter[str] = field(default_factory=Counter)
    first_failure: str = ""

    def add(self, image: str, failure: str) -> None:
        self.sent += 1
        if failure:
            self.failed += 1
            self.first_failure = self.first_failure or failure
        else:
            self.by_image[image] += 1


@contextmanager
def steady(host: str, port: int) -> Iterator[Tally]:
    """Send requests for as long as the block runs; those in flight at its end are counted too."""
    tally, over, lock = Tally(), threading.Event(), threading.Lock()

    def work(number: int) -> None:
        due = time.monotonic() + number * EVERY_S / WORKERS
        while not over.wait(max(0.0, due - time.monotonic())):
            due += EVERY_S
            image, failure = ask(host, port)
            with lock:
                tally.add(image, failure)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(WORKERS)]
    for worker in workers:
        worker.start()
    try:
        yield tally
    finally:
        over.set()
        for worker in workers:
            worker.join()


def ask(host: str, port: int) -> tuple[str, str]:
    """(the image that answered, "") or ("", what went wrong)."""
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        words = answer.read().decode("utf-8", "replace").split()
    except (OSError, http.client.HTTPException) as failure:
        return "", f"{type(failure).__name__}: {failure}"
    finally:
        connection.close()
    if answer.status != 200 or words[:1] != ["image"]:
        return "", f"status {answer.status}"
    return words[1], ""
