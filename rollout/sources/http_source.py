"""Flags at an address: what the server says now, or else the last good copy of it.

https:// anywhere, plain http:// only on this machine. What does not parse is never
kept, so it never takes the place of a good copy. `source` says how old the text is.
Knows the rules; fetch does the talking and cache the keeping.
"""

from __future__ import annotations

import re
import time
from urllib.parse import urlsplit

from rollout.errors import BadFlagFile, SourceProblem
from rollout.file import flagfile
from rollout.sources import cache, fetch
from rollout.sources.text import Text
from rollout.wording import show

DEADLINE_S = 1.0
"""A deploy waits this long for its flags, and not longer."""

_AGES = ((86400, "d"), (3600, "h"), (60, "min"))


def read(url: str) -> Text:
    """The text at `url`, within a second.

    When the server cannot be reached, or gives what cannot be used, it is the copy
    of the last time, and `source` says so. Raises SourceProblem when there is none,
    BadFlagFile when there is none and the server's text is no flags file.
    """
    name = _checked(url)
    kept = cache.load(url)
    try:
        return Text(_newest(url, name, kept), f"{name} as of now")
    except fetch.Failed as failure:
        if kept is None:
            raise SourceProblem(
                f"{name} {failure}",
                hint="check the address and the connection; no earlier copy is kept here",
            ) from None
        return _earlier(kept, name, f"it {failure}")
    except BadFlagFile as bad:
        if kept is None:
            raise
        first = bad.problems[0]
        return _earlier(kept, name, f"line {first.line} of it now: {first.message}")


def _newest(url: str, name: str, kept: cache.Copy | None) -> bytes:
    """What the server says now, kept for later; raises fetch.Failed and BadFlagFile."""
    answer = fetch.get(
        url,
        etag=kept.etag if kept else "",
        deadline_s=DEADLINE_S,
        largest_bytes=flagfile.LARGEST_BYTES,
    )
    if answer.is_page:
        raise fetch.Failed("answers with a web page, not with a flags file")
    if kept and (answer.unchanged or (answer.body, answer.etag) == (kept.data, kept.etag)):
        cache.confirm(url)
        return kept.data
    flagfile.parse_bytes(answer.body, name)
    cache.save(url, answer.body, answer.etag)
    return answer.body


def _checked(url: str) -> str:
    """What to call the address: without the secrets that may be in it."""
    try:
        scheme, host = fetch.split(url)
    except fetch.Failed as failure:
        raise SourceProblem(f"{show(url)} {failure}", hint="check the address") from None
    if scheme not in ("http", "https"):
        raise SourceProblem(
            f"{show(url)} is neither a path nor an address that flags can come from",
            hint="give a path, or an address that begins with https://",
        )
    parts = urlsplit(url)
    location = parts.netloc.rpartition("@")[2]
    name = f"{scheme}://{location}{parts.path}" + ("?..." if parts.query else "")
    name = name if re.fullmatch(r"[!-~]{1,200}", name) else show(name)
    if not host:
        raise SourceProblem(f"{name} names no host", hint="check the address")
    if scheme == "http" and not fetch.is_loopback(host):
        raise SourceProblem(
            f"{name} is plain http to another machine",
            hint="use https://; plain http is for this machine only, such as 127.0.0.1",
        )
    return name


def _earlier(kept: cache.Copy, name: str, why: str) -> Text:
    age = _ago(time.time() - kept.checked_at)
    return Text(kept.data, f"{name} as of {age} ({why})", problem=f"{name}: {why}")


def _ago(age_s: float) -> str:
    """An age for people; a clock that was set back must not make a copy look fresh."""
    if age_s < -1:
        return "an unknown time, for the clock was set back"
    for unit_s, unit in _AGES:
        if age_s >= unit_s:
            return f"{int(age_s // unit_s)} {unit} ago"
    return f"{max(0, int(age_s))} s ago"
