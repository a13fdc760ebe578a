"""The site as a browser shows it: in light, in dark and on a phone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rollout.commands.running import run
from tests.rollout.outcomes.site import browser as module
from tests.rollout.outcomes.site.browser import Browser
from tests.rollout.outcomes.site.test_pages import BEGIN, HEAD, RAMP, REST, built
from tests.rollout.repo import Repo

pytestmark = pytest.mark.skipif(bool(module.missing()), reason=module.missing())
LOOKS = {"light": ("light", 1200), "dark": ("dark", 1200), "narrow": ("light", 390)}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory, before = tmp_path_factory.mktemp("site"), Path.cwd()
    os.chdir(directory)
    try:
        yield built(directory, count=30)
    finally:
        os.chdir(before)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with module.started(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.mark.parametrize("look", LOOKS)
def test_every_page_is_seen_whole(site: Path, browser: Browser, look: str, tmp_path: Path) -> None:
    scheme, width = LOOKS[look]
    browser.scheme(scheme)
    browser.size(width, 1400)
    ours = [page for page in site.rglob("*.html") if "the timeline" not in page.read_text()]
    assert len(ours) == 4 + 30
    for page in sorted(ours):
        browser.open(page)
        heading = browser.text("h1")
        assert heading
        # Nothing makes the page wider than the screen; what is wide scrolls by itself.
        assert browser.script("return document.documentElement.scrollWidth") <= width, page
        assert len(browser.screenshot(tmp_path / f"{look}-{page.stem}.png")) > 5_000
        background = browser.script("return getComputedStyle(document.body).backgroundColor")
        assert background == ("rgb(16, 20, 24)" if scheme == "dark" else "rgb(246, 247, 249)")
    assert browser.troubles() == []


def test_from_the_index_everything_is_reached_by_its_links(site: Path, browser: Browser) -> None:
    browser.scheme("light")
    browser.size(1200, 900)
    browser.open(site / "index.html")
    assert "release" not in browser.text("h1")
    browser.follow("deploy-retries")
    told = browser.text()
    assert "deploy-retries stays at 25 %" in told
    assert "killed, it was at 10 %" in told
    assert browser.count("svg polyline") == 1 + 3
    browser.follow("Deploys")
    assert "failed" in browser.text()
    browser.follow("d000003e7")
    assert browser.text("h1") == "the timeline"
    browser.open(site / "deploys.html")
    browser.follow("d00000001")
    assert browser.text("h1") == "app-1 d00000001"
    browser.follow("Units")
    assert "6.343 %" in browser.text()
    browser.follow("Flags")
    assert browser.address.endswith("/index.html")


def test_what_is_ahead_is_dotted_and_paper_has_no_links_to_follow(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Repo(tmp_path).commit({"flags.yaml": f"{HEAD}{REST}{RAMP}"}, BEGIN)
    assert run("site", "--out", "site", at="2026-11-21T00:00Z").exit_code == 0
    style = "return getComputedStyle(document.querySelector('{}')).{}"
    for media, shown in (("screen", "flex"), ("print", "none")):
        browser.scheme("light", media=media)
        browser.open(tmp_path / "site" / "flags" / "deploy-retries.html")
        assert browser.script(style.format("nav", "display")) == shown
        assert browser.script(style.format("svg .ahead", "strokeDasharray")) == "2px, 5px"
    assert browser.script(style.format("svg .path", "strokeDasharray")) == "none"
