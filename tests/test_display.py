from __future__ import annotations

import dataclasses
import inspect
import json
import subprocess
import sys
from html.parser import HTMLParser

import display_samples as samples
import pytest
from IPython.core.interactiveshell import InteractiveShell

from nbmlops import display, records
from nbmlops.display import shape


class Tags(HTMLParser):
    """Collects tag names and checks that they are balanced."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def parsed(html: str) -> Tags:
    tags = Tags()
    tags.feed(html)
    tags.close()
    assert not tags.open
    return tags


def record_classes() -> set[str]:
    found = {n for n, c in inspect.getmembers(records, inspect.isclass) if issubclass(c, records.Record)}
    return {name for name in found if not name.startswith("_")} - {"Record"}


def test_every_record_class_has_a_card_and_a_sample():
    assert record_classes() == set(samples.ALL)
    assert record_classes() <= set(display.cards.BUILDERS)


@pytest.mark.parametrize("name", sorted(samples.ALL))
def test_card_is_escaped_and_balanced(name):
    html = display.html(samples.ALL[name])
    tags = parsed(html)
    assert not tags.seen & {"script", "img", "iframe", "link"}
    drawn = {"width", "height", "viewbox", "role", "aria-label", "d"} if "svg" in tags.seen else set()
    if name == "Plan":  # its graph has boxes, and texts in places
        drawn |= {"xmlns", "x", "y", "rx", "transform", "fill", "stroke", "font-family", "font-size", "text-anchor"}
    assert tags.attributes <= {"class", *drawn}
    assert "window.hacked=1</script>" not in html


@pytest.mark.parametrize("name", sorted(samples.ALL))
def test_text_is_plain_lines(name):
    text = display.text(samples.ALL[name])
    assert text.strip()
    assert all(line == line.rstrip() for line in text.splitlines()[1:])
    assert "\x1b" not in text


def test_text_hides_terminal_control():
    run = samples.run(1, name="a\x1b[2Jb\rc")
    assert "\x1b" not in display.text(run)
    assert "\r" not in display.text(run)


def test_run_card_says_what_matters():
    html = display.html(samples.run(1, status="FAILED", error={"name": "ValueError", "message": "no rows"}))
    for part in ("run-1", "FAILED", "nbm-bad", "flights", "ada", "auc", "lr", "1 min 15 s", "ValueError: no rows"):
        assert part in html
    text = display.text(samples.run(1))
    assert text.startswith("run run-1  [FAILED]")


class _Desk:
    def __init__(self, known):
        self.known = known

    def known_profile(self, version):
        return self.known


def test_a_data_set_shows_its_profile_once_that_is_known():
    version = dataclasses.replace(samples.DATASET, _desk=_Desk(samples.PROFILE))
    html, text = display.html(version), display.text(version)
    assert "<svg" in html
    assert "&lt;script&gt;" in html
    for part in ("≈ 500", "0.25", "▁█", "2024-01-02T00:00:00", "24 h", "(90%)"):
        assert part in text
    for unknown in (samples.DATASET, dataclasses.replace(version, _desk=_Desk(None))):
        assert "never null" in display.text(unknown)
        assert "<svg" not in display.html(unknown)


def test_a_profile_is_a_dict_and_a_record():
    profile = samples.PROFILE
    assert profile["columns"]["n"]["mean"] == profile.columns["n"]["mean"] == 0.25
    assert json.loads(json.dumps(profile)) == profile == {"rows": 1000, "columns": profile.columns}
    assert profile != records.DatasetProfile(1, {})
    assert set(profile.to_dict()) == {"rows", "columns", "dataset"}
    assert "ranks of quantiles within 1.0%" in display.text(profile)


def test_a_difference_says_what_became_of_rows():
    text = display.text(samples.ALL["DatasetDiff"])
    for part in ("rows changed", "key", "was → ", "y=1", "y=None", "row 3", "mean 1 → 2"):
        assert part in text


def test_lineage_text_keeps_the_tree():
    assert "└── model churn@3" in display.text(samples.ALL["Lineage"])


def test_findings_without_a_hint_have_no_column_for_it():
    passed = records.Finding("loads", "pass", "the package loads", "it does")
    done = records.Promotion(
        model="churn", version=1, environment="staging", status="promoted", reason="r", user="u", findings=(passed,)
    )
    assert "it does" in display.text(done)
    assert "what to do" not in display.html(done)


def test_long_sections_are_counted_not_dropped_silently():
    run = samples.run(1, params={f"p{i}": str(i) for i in range(100)})
    assert "and 70 more" in display.html(run)
    assert "and 70 more" in display.text(run)


def test_predictions_show_the_first_rows():
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"prediction_id": ["a", "<b>"], "prediction": [1, 0]})
    html = display.html(records.Predictions("01B", "model:m@1", 2, frame=frame))
    assert "&lt;b&gt;" in html


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (0.123456789, "number", "0.12346"),
        (1e-7, "number", "1.0000e-07"),
        (123456.789, "number", "123456.8"),
        (float("nan"), "number", "nan"),
        ("nan", "number", "nan"),
        (3, "number", "3"),
        (1234567, "count", "1,234,567"),
        (3_400, "bytes", "3.4 kB"),
        (12, "bytes", "12 B"),
        (3e15, "bytes", "3000.0 TB"),
        (75.5, "duration", "1 min 15 s"),
        (None, "time", ""),
        (("a", "b"), "code", "a, b"),
        (True, "number", "True"),
    ],
)
def test_cell(value, kind, expected):
    assert shape.cell(value, kind) == expected


def test_listing_is_a_list_with_a_table():
    listing = display.Listing([samples.run(i) for i in range(1, 301)], "runs")
    assert isinstance(listing, list)
    assert listing[0].name == "run-1"
    html = listing._repr_html_()
    parsed(html)
    assert "run-200" in html
    assert "run-201" not in html
    assert "100 more" in html
    assert "metrics" not in repr(listing).splitlines()[0]
    assert repr(listing).splitlines()[1].startswith("run ")
    columns, rows = listing.table()
    assert [c.key for c in columns][-5:] == ["metrics.loss", "params.lr", "params.depth", "params.solver", "tags.team"]
    assert {c.key: c.kind for c in columns}["params.lr"] == "number"
    assert {c.key: c.kind for c in columns}["params.solver"] == "text"
    assert rows[8][[c.key for c in columns].index("metrics.loss")] == "nan"


def test_listing_of_other_things():
    for name, record in samples.ALL.items():
        listing = display.Listing([record, record])
        parsed(listing._repr_html_())
        assert repr(listing), name
    assert "none yet" in repr(display.Listing([], "runs"))
    parsed(display.Listing([], "runs")._repr_html_())
    assert "a<b" in repr(display.Listing([{"name": "a<b", "at": 1.0}]))
    assert "a&lt;b" in display.Listing([{"name": "a<b", "at": 1.0}])._repr_html_()


def test_tables():
    html = display.html_table([["<b>", 1.5]], ["name", display.Column("v", "value", "number")])
    parsed(html)
    assert "&lt;b&gt;" in html
    assert (
        display.text_table([["a", 1], ["bb", 20]], ["n", display.Column("v", "v", "number")])
        == "n    v\na    1\nbb  20"
    )


def test_registers_with_ipython_and_leaves_no_trace():
    shell = InteractiveShell()
    run = samples.run(1)
    display.register(shell)
    data, _ = shell.display_formatter.format(run)
    assert data["text/html"] == display.html(run)
    assert data["text/plain"] == display.text(run)
    inside, _ = shell.display_formatter.format([run])
    assert inside["text/plain"].startswith("[Run(")
    display.unregister(shell)
    data, _ = shell.display_formatter.format(run)
    assert set(data) == {"text/plain"}
    assert data["text/plain"].startswith("Run(")
    display.unregister(shell)
    assert display.mimebundle(run)["text/html"] == display.html(run)
    assert set(display.mimebundle(display.Listing([run]))) == {"text/html", "text/plain"}


def test_import_is_light():
    heavy = ["pandas", "numpy", "sqlalchemy", "ipywidgets", "anywidget", "IPython"]
    code = f"import sys, nbmlops.display; print([m for m in {heavy} if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )
