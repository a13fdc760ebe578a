"""GitHub: the summary of a step, and the status of a deployment. Both where the runner offers it.

https://docs.github.com/actions/reference/workflows-and-actions/variables
https://docs.github.com/rest/deployments
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

from deploy.events import Result
from deploy.notify.markdown import render_markdown
from deploy.notify.posting import NotDelivered, post
from deploy.readers.report import Report
from deploy.readers.timeline import Timeline
from deploy.wording import shorten

_API = "https://api.github.com"
_LONGEST_DESCRIPTION = 140  # GitHub refuses longer ones
_STATES = {
    Result.DONE: "success",
    Result.UNCHANGED: "success",
    Result.ROLLED_BACK: "failure",
    Result.FAILED: "failure",
}


def summarize(timeline: Timeline, environ: Mapping[str, str]) -> None:
    """Append to the step's summary. Raises NotDelivered."""
    path = environ.get("GITHUB_STEP_SUMMARY")
    if not path:
        return
    try:
        with Path(path).open("a", encoding="utf-8") as summary:
            summary.write(render_markdown(timeline))
    except OSError as error:
        raise NotDelivered(f"the step summary cannot be written: {error.strerror}") from None


def set_deployment(report: Report, environment: str, environ: Mapping[str, str]) -> None:
    """Record the run as a deployment of the commit, with its status. Raises NotDelivered."""
    needed = ("GITHUB_TOKEN", "GITHUB_REPOSITORY", "GITHUB_SHA")
    if missing := [name for name in needed if not environ.get(name)]:
        raise NotDelivered(f"no GitHub deployment: {', '.join(missing)} is not set")
    api = environ.get("GITHUB_API_URL") or _API
    if not api.startswith("https://") and urlsplit(api).hostname not in ("127.0.0.1", "localhost"):
        raise NotDelivered("no GitHub deployment: GITHUB_API_URL would get the token unencrypted")
    url = f"{api.rstrip('/')}/repos/{quote(environ['GITHUB_REPOSITORY'])}/deployments"
    headers = {
        "authorization": f"Bearer {environ['GITHUB_TOKEN']}",
        "accept": "application/vnd.github+json",
        "x-github-api-version": "2022-11-28",
    }
    try:
        made = post(url, _json(_deployment(report, environment, environ["GITHUB_SHA"])), headers)
        number = int(json.loads(made)["id"])
        post(f"{url}/{number}/statuses", _json(_status(report, environment, environ)), headers)
    except NotDelivered as failure:
        if failure.status in (401, 403, 404):
            raise NotDelivered(f"{failure}: the token needs `deployments: write`") from None
        raise
    except (ValueError, KeyError, TypeError):
        raise NotDelivered("no GitHub deployment: its answer has no id") from None


def _deployment(report: Report, environment: str, commit: str) -> dict[str, object]:
    return {
        "ref": commit,
        "environment": environment,
        "auto_merge": False,
        "required_contexts": [],  # what has to pass was the workflow's to decide
        "description": shorten(f"{report.command} {report.app}: {report.image}", 140),
    }


def _status(report: Report, environment: str, environ: Mapping[str, str]) -> dict[str, object]:
    status: dict[str, object] = {
        "state": _STATES.get(report.result, "error") if report.result else "error",
        "environment": environment,
        "description": shorten(report.message, _LONGEST_DESCRIPTION),
    }
    server, run_id = environ.get("GITHUB_SERVER_URL"), environ.get("GITHUB_RUN_ID")
    if server and run_id:
        status["log_url"] = f"{server}/{environ['GITHUB_REPOSITORY']}/actions/runs/{run_id}"
    return status


def _json(data: Mapping[str, object]) -> bytes:
    return json.dumps(data).encode()
