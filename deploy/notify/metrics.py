"""A run as metrics, in the text format that Prometheus's node_exporter collects from files. Pure.

https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from deploy.readers.report import Report

_PREFIX = "tidegate_deploy"
Sample = tuple[Mapping[str, str], float]


def render_metrics(report: Report) -> str:
    """Gauges of the newest run of an app; durations in seconds, times in Unix seconds."""
    app = {"app": report.app}
    about = {
        "command": report.command,
        "image": report.image,
        "strategy": report.strategy,
        "path": report.path,
        "result": str(report.result or ""),
        "cause": str(report.cause or ""),
    }
    runs = Counter(machine.runs for machine in report.machines)
    families: list[tuple[str, str, Iterable[Sample]]] = [
        ("info", "The newest run, with what it was in labels.", [(app | about, 1)]),
        ("exit_code", "Exit code of the newest run; 0 is done.", [(app, report.exit_code)]),
        ("finished_timestamp_seconds", "When the newest run ended.", [(app, report.at)]),
        ("duration_seconds", "How long the newest run took.", [(app, report.duration_s)]),
        (
            "passes",
            "Passes that the newest run took.",
            [
                (app | {"direction": "forward"}, report.passes_used),
                (app | {"direction": "back"}, report.passes_back),
            ],
        ),
        ("retries_allowed", "Retries that the newest run had.", [(app, report.retries_allowed)]),
        ("hiccups", "Calls that failed and could be repeated.", [(app, report.hiccups_met)]),
        (
            "machines",
            "Machines by what they run: new, old, mixed, gone, unknown.",
            [(app | {"runs": what}, many) for what, many in sorted(runs.items())],
        ),
    ]
    return "".join(_family(*family) for family in families)


def _family(name: str, help_: str, samples: Iterable[Sample]) -> str:
    full = f"{_PREFIX}_{name}"
    lines = [f"# HELP {full} {help_}", f"# TYPE {full} gauge"]
    lines += [f"{full}{{{_labels(labels)}}} {value}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items())


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
