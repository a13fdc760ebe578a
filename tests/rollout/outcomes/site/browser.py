"""A browser for tests: Chromium without a window, driven over the WebDriver protocol."""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage",
)  # fmt: skip
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_LIMIT_S = 30.0


def missing() -> str:
    """What is not installed; empty if all is there."""
    if not shutil.which("chromedriver") or not _chromium():
        return "there is no Chromium: apt-get install chromium chromium-driver"
    return ""


def _chromium() -> str | None:
    return shutil.which("chromium") or shutil.which("google-chrome")


class Browser:
    """One tab."""

    def __init__(self, client: httpx.Client, session: str) -> None:
        self._client = client
        self._session = session

    def open(self, page: Path) -> None:
        self._post("url", url=page.as_uri())

    @property
    def address(self) -> str:
        return str(self._get("url"))

    def text(self, selector: str = "body") -> str:
        """What somebody sees of the first element that fits."""
        element = self._post("element", using="css selector", value=selector)[_ELEMENT]
        return str(self._get(f"element/{element}/text"))

    def count(self, selector: str) -> int:
        return len(self._post("elements", using="css selector", value=selector))

    def follow(self, link: str) -> None:
        """Click a link by its words."""
        element = self._post("element", using="link text", value=link)[_ELEMENT]
        self._post(f"element/{element}/click")

    def script(self, text: str) -> Any:
        """Run by the browser itself: pages cannot."""
        return self._post("execute/sync", script=text, args=[])

    def size(self, width: int, height: int) -> None:
        """The size of what is seen of a page, as on a phone."""
        self._developer(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip

    def scheme(self, name: str, *, media: str = "screen") -> None:
        """What the user prefers, `light` or `dark`, and where it is seen: `screen` or `print`."""
        feature = {"name": "prefers-color-scheme", "value": name}
        self._developer("Emulation.setEmulatedMedia", media=media, features=[feature])

    def screenshot(self, path: Path) -> bytes:
        data = base64.b64decode(self._get("screenshot"))
        path.write_bytes(data)
        return data

    def troubles(self) -> list[str]:
        """What the console has to complain about."""
        return [str(entry["message"]) for entry in self._post("se/log", type="browser")]

    def _developer(self, command: str, **params: Any) -> None:
        self._post("goog/cdp/execute", cmd=command, params=params)

    def _get(self, what: str) -> Any:
        return _value(self._client.get(f"/session/{self._session}/{what}"))

    def _post(self, what: str, **fields: Any) -> Any:
        return _value(self._client.post(f"/session/{self._session}/{what}", json=fields))


@contextmanager
def started(profile: Path) -> Iterator[Browser]:
    """A browser with a profile of its own, gone afterwards."""
    environment = os.environ | {"HOME": str(profile)}
    driver = subprocess.Popen(
        ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=environment,
    )  # fmt: skip
    assert driver.stdout is not None
    try:
        port = next(
            match[1]
            for line in driver.stdout
            if (match := re.search(r"started successfully on port (\d+)", line))
        )
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=_LIMIT_S) as client:
            options = {
                "args": [*_FLAGS, f"--user-data-dir={profile / 'profile'}"],
                "binary": _chromium(),
            }
            wanted = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            body = {"capabilities": {"alwaysMatch": wanted}}
            session = _value(client.post("/session", json=body))["sessionId"]
            try:
                yield Browser(client, session)
            finally:
                client.delete(f"/session/{session}")
    finally:
        driver.terminate()
        driver.wait(_LIMIT_S)
        driver.stdout.close()


def _value(answer: httpx.Response) -> Any:
    value = answer.json()["value"]
    assert answer.status_code == 200, value
    return value
