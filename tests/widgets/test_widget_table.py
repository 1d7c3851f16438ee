from __future__ import annotations

import json
import re
import subprocess
import sys

import display_samples as s
import pytest

from nbmlops import widgets
from nbmlops.display import Listing
from nbmlops.widgets import esm
from nbmlops.widgets.tables import MOST_TWIN, table


def state_of(html: str) -> dict:
    return json.loads(re.search(r"const state=(\{.*?\});\n", html).group(1))


def test_bundle_has_the_live_view_the_twin_and_text():
    widget = table(Listing([s.run(i) for i in range(1, 6)], "runs"))
    data, _ = widget._repr_mimebundle_()
    assert set(data) == {"application/vnd.jupyter.widget-view+json", "text/html", "text/plain"}
    assert data["text/plain"].startswith("run ")
    assert "run-3" in data["text/plain"]
    state = state_of(data["text/html"])
    assert state["rows"] == widget.rows
    assert state["ids"] == [s.run(i).ref for i in range(1, 6)]


def test_shown_it_gives_a_live_output_and_a_static_one(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda data, raw: shown.append(data))
    widget = table([s.run(1)], "runs")
    widget._ipython_display_()
    assert [sorted(data) for data in shown] == [
        ["application/vnd.jupyter.widget-view+json", "text/plain"],
        ["text/html", "text/plain"],
    ]
    assert f'data-nbm="{widget.token}"' in shown[1]["text/html"]


def test_twin_is_safe_and_self_contained():
    html = table([s.run(1, name=s.EVIL, params={s.EVIL: s.QUOTES})], "runs").static_html()
    assert "<script>window" not in html
    assert "<img" not in html
    assert len(re.findall("<script", html)) == 1
    assert not re.search(r"""(src|href)\s*=\s*["']?https?:""", html)
    assert s.EVIL in state_of(html)["rows"][0]


def test_twin_keeps_a_bounded_number_of_rows():
    widget = table([s.run(i) for i in range(1, MOST_TWIN + 11)], "runs")
    state = state_of(widget.static_html())
    assert len(state["rows"]) == len(state["ids"]) == MOST_TWIN
    assert state["note"] == "the first 2,000 of 2,010 rows"
    assert len(widget.rows) == MOST_TWIN + 10


def test_empty_table():
    widget = table([], "runs")
    assert widget.text() == "no runs yet"
    assert "nothing here yet" in widget.static_html()


@pytest.mark.parametrize("name", sorted(esm.MODULES))
def test_modules_load_nothing_and_never_write_markup(name):
    source = esm.source(name)
    assert "export default { render };" in source
    assert source.count("export ") == 1
    for word in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        "import(",
        "import {",
        "fetch(",
        "http://",
        "https://",
    ):
        assert word not in source.replace('"http://www.w3.org/2000/svg"', ""), word


def test_a_page_has_an_escaped_title():
    assert "<title>a &lt;b&gt;</title>" in esm.page("a <b>", "")


def test_embedded_json_cannot_close_its_script():
    assert "<" not in esm.embedded({"a": "</script><!--"})
    with pytest.raises(ValueError, match="JSON"):
        esm.embedded([float("nan")])


def test_the_package_is_light_and_exports_by_name():
    code = "import sys, nbmlops.widgets; assert 'anywidget' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert set(widgets.__all__) == {"Dashboard", "Table", "dashboard_page", "table"}
    assert all(callable(getattr(widgets, name)) for name in widgets.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        widgets.nothing  # noqa: B018
