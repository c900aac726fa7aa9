"""The report page: complete, offline, escaped."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest

from prunus.compiler.report import schema
from prunus.compiler.report.html import render

HOSTILE = '"><script>alert(1)</script>\n`[exec]` \u202e ${x} {{7*7}}'


def report(name: str = "conv1", **changes) -> schema.ReportData:
    estimate = schema.EstimateInfo(
        name="latency_s", value=0.00123, low=0.001, high=0.002, unit="s", basis="modelled", source="roofline"
    )
    layer = schema.LayerInfo(
        name=name,
        op="conv",
        macs=1000,
        density=0.5,
        bits="w8a8",
        placement="integer",
        reason="native",
        cost={"lut": 12.0},
    )
    note = schema.NoteInfo(code="pinned", text="not pruned", where=name, hint="none")
    data = {
        "schema": schema.SCHEMA,
        "model": schema.ModelInfo(name=name, sha256="0" * 64, inputs={name: [None, 4]}, outputs={}),
        "target": schema.TargetInfo(backend="hls", scheme="pow2", formats={}),
        "device": schema.DeviceInfo(name="pynq-z2", kind="fpga", title="PYNQ-Z2"),
        "passes": [schema.PassInfo(name="prune_channels", seconds=1.5, changed=True, notes=[note])],
        "accuracy": schema.Accuracy(metric="top1", before=0.99, after=0.985, samples=540),
        "fidelity": schema.Fidelity(
            sqnr_db=31.2, max_abs_error=0.1, agreement=0.99, exact_fraction=1.0, reference="r", compared_elements=1234
        ),
        "size": schema.Size(
            params_before=10, params_after=5, macs_before=2000, macs_after=1000, bytes_before=40, bytes_after=5
        ),
        "estimate": [estimate],
        "baseline": [estimate.model_copy(update={"value": 0.00246})],
        "notes": ["a note"],
        "layers": [layer],
        "energy": schema.Energy(before_j=5e-5, after_j=2e-5, basis="modelled", source="table"),
        "redundancy": [
            schema.RedundancyInfo(
                layer=name, weights=432, channels=16, duplicates=3, rank=12, full_rank=16, near_zero=0.25, dead=1
            )
        ],
        "outlook": outlook(name),
        "verdict": schema.Verdict(met=True, binding="none", why="fine"),
        "provenance": {"created": "2030-01-01T00:00:00+00:00"},
    }
    return schema.ReportData(**(data | changes))


def outlook(name: str) -> schema.PruningOutlook:
    l2 = schema.CriterionOutlook(
        criterion="l2",
        macs=1200,
        channels=7,
        loss=0.625,
        refitted_loss=0.125,
        cost={"energy_j": 3e-5},
        layers=[schema.LayerOutlook(layer=name, channels=16, removed=7)],
    )
    return schema.PruningOutlook(
        fraction=0.4,
        macs=2000,
        channels=16,
        loss_kind="cross-entropy",
        samples=64,
        cost={"energy_j": 5e-5},
        skipped={"mrmr": "needs-labels"},
        criteria=[l2, l2.model_copy(update={"criterion": "random", "loss": None, "refitted_loss": None, "cost": {}})],
    )


class Tags(HTMLParser):
    """Collects tags, attributes and text as a browser sees them."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.links += [value or "" for key, value in attrs if key in ("src", "href", "onload", "onerror")]

    def handle_data(self, data: str) -> None:
        self.text += data


def parse(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    return tags


def test_page_states_the_figures_and_their_basis() -> None:
    text = parse(render(report())).text
    for expected in (
        "98.50 %",
        "before 99.00 %",
        "31.2 dB",
        "1.23 ms",
        "modelled",
        "roofline",
        "×2.00",
        "not pruned",
        "100 %",
    ):
        assert expected in text


def test_page_says_what_is_redundant_and_what_criteria_would_do() -> None:
    text = parse(render(report())).text
    for expected in (
        "50 µJ quantized but not pruned, 20 µJ now",
        "Redundancy before pruning",
        "12 of 16",
        "25.0 %",
        "What each criterion would remove",
        "increase of the cross-entropy, measured on 64 samples",
        "7 of 16",
        "0.625",
        "0.125",
        "30 µJ",
        "mrmr (needs-labels)",
    ):
        assert expected in text
    bare = parse(render(report(outlook=None, redundancy=[], energy=None))).text
    assert "Redundancy" not in bare and "criterion" not in bare and "Energy per inference" not in bare


def test_page_is_offline_and_runs_nothing() -> None:
    tags = parse(render(report()))
    assert not tags.links
    assert not {"script", "iframe", "img", "link", "object"} & set(tags.tags)
    assert "default-src 'none'" in render(report())


def test_hostile_names_stay_text() -> None:
    tags = parse(render(report(HOSTILE)))
    assert "script" not in tags.tags
    assert "<script>alert(1)</script>" in tags.text
    assert "{{7*7}}" in tags.text


def test_page_has_no_time_stamp() -> None:
    assert "2030-01-01" not in render(report())
    other = report(provenance={"created": "2031-01-01T00:00:00+00:00"})
    slower = [report().passes[0].model_copy(update={"seconds": 9.0})]
    assert render(report()) == render(other) == render(report(passes=slower))


def test_a_missed_bound_and_an_unexecuted_artefact_are_said() -> None:
    fidelity = report().fidelity.model_copy(update={"exact_fraction": None})
    verdict = schema.Verdict(met=False, binding="lut", why="lut is 9, allowed are 5")
    text = parse(render(report(fidelity=fidelity, verdict=verdict))).text
    assert "A bound is missed: lut" in text
    assert "lut is 9, allowed are 5" in text
    assert "not executed" in text


def test_schema_refuses_unknown_fields_and_round_trips() -> None:
    data = report().model_dump(mode="json", by_alias=True)
    assert data["schema"] == "prunus.report/1"
    assert schema.ReportData.model_validate(data) == report()
    with pytest.raises(ValueError, match="extra"):
        schema.ReportData.model_validate(data | {"surprise": 1})


def test_schema_is_the_documented_contract(golden) -> None:
    from prunus.compiler.output import as_json

    golden("report.schema.json", as_json(schema.ReportData.model_json_schema()))
