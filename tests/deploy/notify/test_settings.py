from __future__ import annotations

import re
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deploy.errors import UsageProblem
from deploy.events import Result
from deploy.notify.settings import DEFAULT_ON, Hook, Settings, Webhook, parse, shown

ROOT = Path(__file__).parents[3]
SECRET = "https://hooks.example.com/services/T0/B0/s3cret"  # noqa: S105 - planted


def test_an_empty_file_tells_nobody() -> None:
    assert parse("", {}) == Settings()


def test_everything_can_be_said() -> None:
    said = parse(
        """
        [notify]
        metrics = "deploy.prom"
        traces = "http://127.0.0.1:4318"
        github-environment = "production"
        [[notify.webhook]]
        url = "$SLACK"
        form = "slack"
        on = ["failed", "rolled-back", "in-between"]
        [[notify.webhook]]
        url = "https://example.com/deploys"
        [hooks]
        pre-deploy = "make check"
        post-deploy = ["./announce", "--loud"]
        timeout = 90
        """,
        {"SLACK": SECRET},
    )
    assert said == Settings(
        webhooks=(
            Webhook(SECRET, "slack", (Result.FAILED, Result.ROLLED_BACK, Result.IN_BETWEEN)),
            Webhook("https://example.com/deploys", "report", DEFAULT_ON),
        ),
        pre_deploy=Hook("make check", 90),
        post_deploy=Hook(("./announce", "--loud"), 90),
        metrics="deploy.prom",
        traces="http://127.0.0.1:4318",
        github_environment="production",
    )


def test_a_single_webhook_may_be_a_table() -> None:
    (webhook,) = parse('[notify.webhook]\nurl = "https://example.com/x"', {}).webhooks
    assert webhook.url == "https://example.com/x"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[notify", "not valid TOML"),
        ("[notify]\nwebhoook = 1", "webhoook"),
        ("[hooks]\npre_deploy = 'x'", "pre_deploy"),
        ("[hooks]\ntimeout = 0", "timeout"),
        ("[hooks]\npre-deploy = 5", "pre-deploy"),
        ('[notify.webhook]\nurl = "https://a.b"\non = ["sometimes"]', "sometimes"),
        ('[notify.webhook]\nurl = ""', "no address"),
        ('[notify.webhook]\nurl = "$NOT_SET"', "NOT_SET"),
        ('[notify.webhook]\nurl = "ftp://a.b/s3cret"', "not the address"),
        ('[notify.webhook]\nurl = "https://[s3cret"', "not the address"),
        ('[notify]\ntraces = "collector:4318"', "notify.traces"),
    ],
)
def test_what_makes_no_sense_is_refused_and_named_without_secrets(text: str, named: str) -> None:
    with pytest.raises(UsageProblem) as refused:
        parse(text, {})
    assert named in refused.value.message
    assert refused.value.hint
    assert "s3cret" not in refused.value.message + refused.value.hint


@given(st.text() | st.from_regex(r"\[(notify|hooks)\]\n[a-z-]+ = .{0,40}"))
@example("a = " + "[" * 5000)
@example('[notify.webhook]\nurl = "https://a:b"')
@example('[notify.webhook]\nurl = "http://[::1"')
def test_any_text_is_settings_or_a_usage_problem(text: str) -> None:
    with suppress(UsageProblem):
        parse(text, {})


def test_an_address_is_shown_without_its_secret() -> None:
    assert shown("https://user:pass@hooks.example.com:8443/s3cret?token=x") == (
        "https://hooks.example.com:8443"
    )


def test_the_file_that_the_page_shows_can_be_read() -> None:
    page = (ROOT / "docs" / "notify.md").read_text("utf-8")
    blocks = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        assert tomllib.loads(block)
        assert parse(block, {"SLACK_WEBHOOK": SECRET}) != Settings()
