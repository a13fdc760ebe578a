from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import duckdb
import pytest

from rollout.file import flagfile
from rollout.flag import Flag
from rollout.outcomes.site import past
from rollout.outcomes.site.charts import Chart, Line, draw
from rollout.outcomes.site.pages import file_name
from rollout.outcomes.site.past import Version
from tests.rollout.commands.running import run
from tests.rollout.outcomes.making import DAY, START, made, write
from tests.rollout.repo import Repo

AT = "2026-11-30T00:00Z"
BEGIN = datetime.fromtimestamp(START, tz=UTC)
HEAD = "version: 1\nflags:\n  deploy-retries:\n"
REST = "    bucket_by: app\n    inside: 5\n    outside: 0\n    owner: <b>ops</b>\n"
RAMP = "    ramp: [{at: 2026-11-19T00:00Z, percent: 5}, {at: 2026-12-24T00:00Z, percent: 100}]\n"
ATTACK = '<script>alert(1)</script>"><img src=x onerror=alert(1)>'


def flags(percent: str) -> str:
    return f"{HEAD}{REST}    {percent}\n"


def built(root: Path, *, count: int = 300, **others: Any) -> Path:
    """A repository with a past, `count` records and one more with a page beside it, and the site.

    The records are of the fifth to the seventh day.
    """
    repo = Repo(root)
    for day, text in ((0, "percent: 5"), (2, "percent: 10"), (3, "enabled: false\n    percent: 10"),
                      (4, "percent: 25")):  # fmt: skip
        repo.commit({"flags.yaml": flags(text)}, BEGIN + timedelta(days=day))
    told = []
    for n in range(count):
        fields: dict[str, Any] = {"path": "legacy", "hiccups_met": n % 3, "hiccups_mended": n % 3}
        result = "failed" if n % 9 == 0 else "done"
        at = START + 5 * DAY + n * 180_000 / count
        told.append(made(n, f"app-{n % 20}", 25.0, result, at=at, **(fields | others)))
    write(root / "all.jsonl", told)
    (root / "reports" / "hello").mkdir(parents=True)
    write(root / "reports" / "hello" / "one.json", [made(999, "hello", 25.0, at=START + 8 * DAY)])
    (root / "reports" / "hello" / "one.html").write_text("<!doctype html><h1>the timeline</h1>")
    done = run("site", "--out", "site", "--reports", "all.jsonl", "reports", at=AT)
    assert done.exit_code == 0, done.output
    return root / "site"


class Page(HTMLParser):
    """What a page has in it: its links, its tags, its text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name == "href" and value]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DEPLOY_REPORTS", raising=False)
    return built(tmp_path)


def test_every_link_leads_to_a_page_of_the_site(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) == 1 + 1 + 1 + 1 + 301
    linked = {(page.parent / link).resolve() for page in pages for link in Page(page).links}
    assert all(path.is_file() and path.is_relative_to(site) for path in linked)
    assert {page for page in pages if page.name != "index.html"} <= linked


def test_the_flag_page_tells_the_past_the_verdict_and_the_cohorts(site: Path) -> None:
    page = Page(site / "flags" / "deploy-retries.html")
    assert "killed, it was at 10 %" in page.text
    assert "switched on again, at 25 %" in page.text
    assert "A Person" in page.text
    assert "deploy-retries stays at 25 %" in page.text
    assert "not done" in page.text
    assert page.tags.count("svg") == 2
    assert page.tags.count("circle") == 4


def test_a_deploy_with_a_timeline_beside_its_record_has_that_page(site: Path) -> None:
    links = [link for link in Page(site / "deploys.html").links if "hello" in link]
    assert "the timeline" in (site / links[0]).read_text()


def test_units_are_where_their_bucket_is(site: Path) -> None:
    text = Page(site / "units.html").text
    assert "helloinside at 6.343 %" in text


def test_nothing_from_outside_becomes_a_tag(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    odd: dict[str, Any] = {"command": ATTACK, "message": ATTACK, "path": ATTACK, "hint": ATTACK}
    site = built(tmp_path, **odd)
    for path in site.rglob("*.html"):
        page = Page(path)
        assert not {"script", "img"} & set(page.tags), path
        assert "<b>ops" not in path.read_text()


def test_the_same_input_gives_the_same_bytes(site: Path) -> None:
    before = {path: path.read_bytes() for path in site.rglob("*.html")}
    run("site", "--out", "site", "--reports", "all.jsonl", "reports", at=AT)
    assert {path: path.read_bytes() for path in site.rglob("*.html")} == before


def test_without_records_and_without_git_there_are_pages_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DEPLOY_REPORTS", raising=False)
    Path("flags.yaml").write_text(flags("percent: 5"))
    assert run("site", "--out", "deep/site", at=AT).exit_code == 0
    assert "There are no records." in Page(Path("deep/site/deploys.html")).text
    assert "Git knows no past" in Page(Path("deep/site/flags/deploy-retries.html")).text
    assert "The guard" not in Page(Path("deep/site/flags/deploy-retries.html")).text
    Path("flags.yaml").write_text(flags("percent: 5\n    guard: {}"))
    run("site", "--out", "deep/site", at=AT)
    assert "missing: units" in Page(Path("deep/site/flags/deploy-retries.html")).text


@pytest.mark.parametrize("at", [1_795_000_000_000, 3e11, -1e11, 1e300])
def test_a_record_of_no_time_at_all_is_listed_like_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: float
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("flags.yaml").write_text(flags("percent: 25"))
    write(tmp_path / "r.jsonl", [made(1, at=at), made(2, deploy="", deploy_id="", run_id="")])
    assert run("site", "--out", "site", "r.jsonl", at=AT).exit_code == 0
    told = Page(Path("site/deploys.html")).text
    assert "at no timed00000001" in told
    assert "without an id" in told


def test_records_in_parquet_are_evidence_and_said_not_to_be_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("flags.yaml").write_text(flags("percent: 25"))
    told = [made(n, f"app-{n % 20}", 25.0, "failed" if n % 9 == 0 else "done") for n in range(90)]
    source = write(tmp_path / "r.jsonl", told)
    duckdb.sql(f"COPY (FROM read_json('{source}')) TO 'r.parquet' (FORMAT parquet)")
    assert run("site", "--out", "site", "r.parquet", at=AT).exit_code == 0
    assert "deploy-retries stays at 25 %" in Page(Path("site/flags/deploy-retries.html")).text
    assert "r.parquet: of Parquet the evidence is shown" in Page(Path("site/index.html")).text


def test_a_directory_that_cannot_be_made_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("flags.yaml").write_text(flags("percent: 5"))
    told = run("site", "--out", "flags.yaml/site", at=AT)
    assert told.exit_code == 2
    assert "cannot be made" in told.output


def test_what_is_ahead_of_a_ramp_is_dotted() -> None:
    told = [version(0, f"{HEAD}{REST}{RAMP}")]
    chart = past.chart("deploy-retries", past.changes("deploy-retries", told), BEGIN + timedelta(3))
    assert chart is not None
    behind, ahead = chart.lines
    assert (behind.ahead, ahead.ahead) == (False, True)
    assert [value for _, value in behind.points] == [0.0, 0.0, 5.0, 5.0]
    assert [value for _, value in ahead.points] == [5.0, 5.0, 100.0, 100.0]


@pytest.mark.parametrize(("days", "shown"), [(4, "2026-11-19"), (1, "11-18 17:06")])
def test_no_two_dates_of_a_chart_are_the_same(days: int, shown: str) -> None:
    line = Line([(START, 0.0), (START + days * DAY, 1.0)], "info")
    words = re.findall(r">([^<>]+)</text>", draw(Chart("", [line], 0.0, 1.0, [])))
    assert len(set(words)) == 5
    assert shown in words


def test_every_kind_of_change_has_its_words() -> None:
    ramp = f"{HEAD}{REST}{RAMP}"
    texts = [
        flags("percent: 5"), flags("percent: 10"), flags("percent: 7"), ramp,
        ramp.replace("    ramp", "    paused: 2026-11-20T00:00Z\n    ramp"),
        flags("percent: 5\n    description: x"), "version: 1\nflags: {}\n",
    ]  # fmt: skip
    told = past.changes("deploy-retries", [version(day, text) for day, text in enumerate(texts)])
    assert [change.words for change in told] == [
        "new, at 5 %", "5 % -> 10 %", "10 % -> 7 %", "7 % -> 5 %", "paused at 5 %",
        "planned anew, at 5 %", "removed",
    ]  # fmt: skip


VARIED = """\
version: 1
flags:
  deploy-retries:
    bucket_by: app
    variants:
      many: {weight: 10, value: 5, always: {app: [app-1]}}
      few: {weight: 20, value: 2}
      none: {weight: 70, value: 0}
"""


def test_a_flag_with_variants_is_shown_without_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    repo = Repo(tmp_path)
    repo.commit({"flags.yaml": VARIED.replace("20", "15").replace("70", "75")}, BEGIN)
    repo.commit({"flags.yaml": VARIED}, BEGIN + timedelta(days=1))
    write(tmp_path / "all.jsonl", [made(n, f"app-{n}", 30.0) for n in range(20)])
    assert run("site", "--out", "site", "--reports", "all.jsonl", at=AT).exit_code == 0
    page = Page(tmp_path / "site" / "flags" / "deploy-retries.html").text
    assert "deploy-retries 10/20/70 %" in page
    assert "few, 20 %" in page
    assert "10/15/75 % -> 10/20/70 %" in page
    assert "the share of all variants but none, the last. Outcomes are compared between two" in page
    assert "stays at" not in page
    units = Page(tmp_path / "site" / "units.html").text
    assert "app-1always many" in units
    for unit, variant in (("app-2", "few"), ("app-3", "none"), ("app-19", "many")):
        assert f"{unit}{variant} at " in units


def version(day: int, text: str) -> Version:
    found: dict[str, Flag] = dict(flagfile.parse(text).flags)
    return Version(BEGIN + timedelta(days=day), f"c{day}", "A Person", found)


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", ".", "", "a/b", "\ud800", "ü" * 300])
def test_no_name_leads_out_of_the_site(name: str) -> None:
    safe = file_name(name)
    assert "/" not in safe
    assert not safe.startswith(".")
    assert len(safe) < 120
    assert file_name(name + "x") != safe
