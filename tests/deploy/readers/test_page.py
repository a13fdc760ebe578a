"""The page of a run: complete, self-contained, and deaf to what is planted in it."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

from hypothesis import example, given

from deploy.events import MachineMoved, Noticed, Phase, Result, RunFinished, RunStarted
from deploy.readers.page import render_html
from tests.deploy.eventful import EPOCH_S, Entry, Story, any_run

PLANTED = "<script>alert(1)</script>\"'&[red]\x1b[31m"
VOID = {"meta", "br"}


class Outline(HTMLParser):
    """Tags in order, whether they nest, and the attributes that could load or run anything."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.text = ""
        self.active: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.active += [name for name, _ in attrs if name in ("src", "href") or name[:2] == "on"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@given(any_run)
@example([(EPOCH_S, Noticed(message=PLANTED))])
@example(
    [(EPOCH_S, MachineMoved(machine_id=PLANTED, name=PLANTED, group=PLANTED, phase=Phase.FAILED))]
)
def test_any_run_makes_a_whole_page_that_runs_and_loads_nothing(run: list[Entry]) -> None:
    page = render_html(run)
    page.encode("utf-8")
    outline = Outline(page)
    assert outline.open == []
    assert outline.active == []
    assert set(outline.tags).isdisjoint({"script", "img", "link", "iframe", "object", "form"})
    assert "\x1b" not in page


def test_the_page_shows_the_facts_the_machines_and_the_decision() -> None:
    outline = Outline(render_html(Story(machines=5, seed=5).tell()))
    for told in (
        "hello runs hello:v2",
        "rollout is at 10 %",
        "retrying",
        "1 of 5 used",
        "pass 1",
        "pass 2",
        "2 leases ran out by themselves",
        "run 01jdeadbee",
        *(f"web-{number}" for number in range(1, 6)),
    ):
        assert told in outline.text


def test_the_page_has_a_row_per_machine_and_a_mark_per_hiccup() -> None:
    story = Story(machines=7, seed=5)
    page = render_html(story.tell())
    assert page.count('<div class="row">') == 7
    assert page.count('<b class="hiccup"') >= 1
    assert page.count('<b class="rest done"') == 7


def test_a_run_without_an_end_shows_how_far_each_machine_got() -> None:
    cut = [entry for entry in Story().tell() if not isinstance(entry[1], RunFinished)][:-3]
    text = Outline(render_html(cut)).text
    assert "unfinished" in text
    assert "4 machines, as last heard of" in text
    assert "deploy status --app hello" in text


def test_hiccups_stand_in_words_with_their_machine_and_moment() -> None:
    run = Story(machines=4, hiccups=0.6, retries=2).tell()
    page = render_html(run)
    section = page[page.index("3 hiccups</h2>") :]
    assert section.count('data-name="Hiccup">update: 503 machine is being migrated') == 3
    assert 'data-name="Machine">web-4' in section
    assert "hiccups</h2>" not in render_html(Story(hiccups=0).tell())


def test_the_axes_of_a_long_fleet_are_at_both_ends() -> None:
    assert '<div class="plot long">' in render_html(Story(machines=30).tell())
    assert '<div class="plot">' in render_html(Story(machines=4).tell())


def test_the_image_before_is_among_the_facts() -> None:
    finished = RunFinished(
        result=Result.DONE, exit_code=0, message="m", image_before="registry.fly.io/hello:v1"
    )
    assert "<dt>Image before</dt><dd>hello:v1</dd>" in render_html([(EPOCH_S, finished)])


def test_who_and_which_revision_are_among_the_facts() -> None:
    (at, started), *rest = Story().tell()
    assert isinstance(started, RunStarted)
    known = replace(started, user="ada <x>", commit="0af3" * 10)
    page = render_html([(at, known), *rest])
    assert "<dt>By</dt><dd>ada &lt;x&gt;</dd>" in page
    assert "<dt>Commit</dt><dd>0af30af30af3</dd>" in page
