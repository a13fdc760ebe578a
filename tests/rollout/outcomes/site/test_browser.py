"""The site as a browser shows it: in light, in dark and on a phone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rollout.outcomes.site import browser as module
from tests.rollout.outcomes.site.browser import Browser
from tests.rollout.outcomes.site.test_pages import built

pytestmark = pytest.mark.skipif(bool(module.missing()), reason=module.missing())
LOOKS = {"light": ("light", 1200), "dark": ("dark", 1200), "narrow": ("light", 390)}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    directory, before = tmp_path_factory.mktemp("site"), Path.cwd()
    os.chdir(directory)
    try:
        yield built(directory)
    finally:
        os.chdir(before)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with module.started(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.mark.parametrize("look", LOOKS)
def test_every_kind_of_page_is_seen_whole(
    site: Path, browser: Browser, look: str, tmp_path: Path
) -> None:
    scheme, width = LOOKS[look]
    browser.scheme(scheme)
    browser.size(width, 1400)
    deploy = next((site / "deploys" / "app-1").glob("*.html"))
    names = ("index.html", "flags/deploy-retries.html", "deploys.html", "units.html")
    for page in (*(site / name for name in names), deploy):
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
