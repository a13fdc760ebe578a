"""The page of a run as Chromium shows it, at three widths: nothing lies over anything else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.readers.page import render_html
from tests.deploy.eventful import Story
from tests.rollout.outcomes.site import browser as module
from tests.rollout.outcomes.site.browser import Browser

pytestmark = pytest.mark.skipif(bool(module.missing()), reason=module.missing())
STORIES = {
    "a long fleet with hiccups": Story(machines=40, hiccups=0.4),
    "a failure that went back": Story(machines=4, broken=1),
    "many passes": Story(machines=3, hiccups=0.8, retries=9, seed=2),
}
# Pairs of texts on the picture whose boxes meet; a mark on a bar is meant to lie on it.
OVERLAPS = """
const shown = [...document.querySelectorAll('.plot .name, .plot .end span, .tick span, .band span')]
  .filter(each => each.textContent.trim() && each.getClientRects().length)
  .map(each => {
    const text = document.createRange();
    text.selectNodeContents(each);
    return [each.textContent.trim(), text.getBoundingClientRect()];
  })
  .filter(([_, box]) => box.width);
const marks = [...document.querySelectorAll('.track b')]
  .map(each => ['mark', each.getBoundingClientRect()]);
const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1
  && a.top < b.bottom - 1 && b.top < a.bottom - 1;
const found = [];
shown.forEach(([text, box], i) => {
  for (const [other, its] of [...shown.slice(i + 1), ...marks])
    if (meet(box, its)) found.push(`${text} / ${other}`);
});
return found;
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with module.started(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.mark.parametrize("width", [500, 900, 1400])
@pytest.mark.parametrize("story", STORIES)
def test_nothing_overlaps_and_nothing_is_wider_than_the_screen(
    browser: Browser, tmp_path: Path, story: str, width: int
) -> None:
    page = tmp_path / "run.html"
    page.write_text(render_html(STORIES[story].tell()))
    browser.size(width, 1400)
    browser.open(page)
    assert browser.script(OVERLAPS) == []
    assert browser.script("return document.documentElement.scrollWidth") <= width
