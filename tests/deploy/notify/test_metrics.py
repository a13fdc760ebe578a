"""The text is read by Prometheus's own parser."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from deploy.events import MachineStands, Result
from deploy.notify.metrics import render_metrics
from deploy.readers.report import Report
from tests.deploy.eventful import Story


def values(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    return {
        family.name: [(sample.labels, sample.value) for sample in family.samples]
        for family in text_string_to_metric_families(text)
    }


def test_a_run_is_gauges_of_its_app() -> None:
    report = Report.of(Story(broken=1).tell())
    found = values(render_metrics(report))
    app = {"app": "hello"}
    assert found["tidegate_deploy_exit_code"] == [(app, report.exit_code)]
    assert found["tidegate_deploy_duration_seconds"] == [(app, report.duration_s)]
    assert found["tidegate_deploy_finished_timestamp_seconds"] == [(app, report.at)]
    assert found["tidegate_deploy_hiccups"] == [(app, report.hiccups_met)]
    assert ({"app": "hello", "direction": "back"}, 1) in found["tidegate_deploy_passes"]
    ((labels, one),) = found["tidegate_deploy_info"]
    assert (labels["result"], one) == ("failed", 1)


def test_machines_are_counted_by_what_they_run() -> None:
    def machine(runs: str) -> MachineStands:
        return MachineStands(
            machine_id="",
            name="",
            group="",
            region="",
            version="",
            image="",
            state="",
            cordoned=False,
            checks="",
            runs=runs,
        )

    report = Report(app="a", machines=(machine("new"), machine("old"), machine("new")))
    assert values(render_metrics(report))["tidegate_deploy_machines"] == [
        ({"app": "a", "runs": "new"}, 2),
        ({"app": "a", "runs": "old"}, 1),
    ]


@given(st.text(), st.text(), st.sampled_from([*Result, None]))
def test_any_text_comes_out_of_the_parser_as_it_went_in(
    app: str, image: str, result: Result | None
) -> None:
    found = values(render_metrics(Report(app=app, image=image, result=result)))
    ((labels, _),) = found["tidegate_deploy_info"]
    assert (labels["app"], labels["image"]) == (app, image)
