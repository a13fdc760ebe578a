"""Apps that misbehave, as real processes: use it where time and processes matter.

One small server that behaves as the tag of its image says; digits at the end
only tell releases apart, so that `late1` and `late2` are both late:

- `ok` answers 200;
- `late` answers 200 for its first second, then 503;
- `flap` answers 200 for 300 ms, then 503 for 300 ms, and so on;
- `crash` exits 3 after its first passed check;
- `exitzero` exits 0 after 200 ms, before it serves;
- `slow` takes 4 s to answer 200;
- `wrongport` listens on 3000 of 127.0.0.1, whatever the platform asks for.

`write(directory)` makes it an app that `deploy` finds there: 2 machines, one HTTP
check every 250 ms after 100 ms of grace. The simulated ones of the same names are
in `tests.worlds.simulated.runtime`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

APP = "cases"
CHECK_PATH = "/health"
WRONG_PORT = 3000

SERVER = r"""
import http.server, os, re, sys, threading, time

TAG = re.sub(r"\d+$", "", os.environ.get("FLY_IMAGE_REF", "").rpartition(":")[2])


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        age_s = time.monotonic() - BEGAN_S
        if TAG == "slow":
            time.sleep(4)
        sick = (TAG == "late" and age_s >= 1) or (TAG == "flap" and age_s % 0.6 >= 0.3)
        body = os.environ.get("FLY_IMAGE_REF", "").encode()
        self.send_response(503 if sick else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if TAG == "crash" and self.path == "/health":
            self.wfile.flush()
            print("crashing: KeyError: 'DATABASE_URL'", flush=True)
            threading.Timer(0.05, os._exit, [3]).start()

    def log_message(self, *_):
        pass


if TAG == "exitzero":
    time.sleep(0.2)
    sys.exit(0)
port = 3000 if TAG == "wrongport" else int(os.environ["PORT"])
server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
BEGAN_S = time.monotonic()
print(f"listening on 127.0.0.1:{port} as {TAG}", flush=True)
server.serve_forever()
"""

FLY_TOML = """\
app = "{app}"
kill_timeout = 1

[processes]
  app = "{python} -E -S app.py"

[deploy]
  wait_timeout = "6s"

[http_service]
  internal_port = 8080
  processes = ["app"]

  [[http_service.checks]]
    path = "/health"
    grace_period = "100ms"
    interval = "250ms"
    timeout = "2s"
"""


def write(directory: Path, *, app: str = APP, more: str = "") -> None:
    """The server and its fly.toml; `more` is added to it, such as `[[restart]]`."""
    (directory / "app.py").write_text(SERVER)
    (directory / "fly.toml").write_text(FLY_TOML.format(app=app, python=sys.executable) + more)


def image(tag: str) -> str:
    return f"{APP}:{tag}"


def config(tag: str, **keys: Any) -> dict[str, Any]:
    """The configuration of one machine with that tag, for tests that deploy nothing."""
    check = {
        "type": "http",
        "path": CHECK_PATH,
        "grace_period": "100ms",
        "interval": "250ms",
        "timeout": "2s",
    }
    service = {
        "internal_port": 8080,
        "ports": [{"port": 80, "handlers": ["http"]}],
        "checks": [check],
    }
    init = {"cmd": [sys.executable, "-E", "-S", "app.py"]}
    return {"image": image(tag), "init": init, "services": [service], **keys}
