"""What a webhook is sent: the report itself, Slack's form, or a template of one's own.

Pure. A template is JSON with `${...}` within its texts: `${text}` and the
others of `_WORDS`, and every field of the report that is no list or object.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from string import Template
from typing import Any

from deploy.errors import UsageProblem
from deploy.readers.report import Report, headline, next_step
from deploy.wording import shorten

REPORT, SLACK = "report", "slack"
_LONGEST_TEXT = 2900  # Slack takes 3,000 characters in a block
_SIGNS = {0: ":white_check_mark:", 1: ":leftwards_arrow_with_hook:"}
_OTHERWISE = ":x:"

# https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks: `text` is what a
# notification shows, `blocks` the message.
_SLACK = """\
{
  "text": "${text}",
  "blocks": [
    {"type": "section", "text": {"type": "mrkdwn", "text": "${sign} *${app}*: ${text}"}},
    {"type": "context", "elements": [
      {"type": "mrkdwn", "text": "${command} of ${image}, deploy ${deploy_id}"},
      {"type": "mrkdwn", "text": "${next}"}
    ]}
  ]
}
"""


def body_of(report: Report, form: str, read: Callable[[str], str]) -> bytes:
    """The JSON to send; `read` gives the text of a template. Raises UsageProblem."""
    if form == REPORT:
        return report.to_line().encode()
    text, escape = (_SLACK, _for_slack) if form == SLACK else (read(form), str)
    return filled(text, {key: escape(word) for key, word in _words(report).items()}, form)


def filled(template: str, words: Mapping[str, str], name: str) -> bytes:
    """The template with its words put in, checked to be JSON. Raises UsageProblem."""
    inside = {key: json.dumps(word)[1:-1] for key, word in words.items()}
    try:
        text = Template(template).substitute(inside)
        json.loads(text)
    except KeyError as unknown:
        raise UsageProblem(
            f"the template {name} has ${{{unknown.args[0]}}}, which no report has",
            hint=f"it may have {', '.join(words)}",
        ) from None
    except ValueError as error:
        raise UsageProblem(
            f"the template {name} is not JSON: {error}",
            hint="write JSON, with ${text} and the like inside of quotes, and $$ for a dollar",
        ) from None
    return text.encode()


def _words(report: Report) -> dict[str, str]:
    fields: Mapping[str, Any] = report.to_json()
    plain = {
        key: "" if value is None else str(value)
        for key, value in fields.items()
        if not isinstance(value, list | dict)
    }
    return plain | {
        "text": shorten(headline(report), _LONGEST_TEXT),
        "next": shorten(next_step(report), _LONGEST_TEXT)
        if report.exit_code
        else "no action needed",
        "sign": _SIGNS.get(report.exit_code, _OTHERWISE),
    }


def _for_slack(text: str) -> str:
    """https://docs.slack.dev/messaging/formatting-message-text#escaping"""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
