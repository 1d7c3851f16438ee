"""The quickstart as a newcomer meets it: in JupyterLab, top to bottom, and the dashboard's buttons at its end."""

from __future__ import annotations

import shutil
from pathlib import Path

import lab_driver
import pytest
from nbconvert import HTMLExporter
from playwright.sync_api import expect

from nbmlops.store import open_store
from nbmlops.workspace import Workspace

pytestmark = [pytest.mark.browser, pytest.mark.slow]

QUICKSTART = Path(__file__).parents[2] / "notebooks" / "flights" / "quickstart.ipynb"
MODEL = "flight-delay-quickstart"


@pytest.fixture(scope="module")
def quickstart(browser, lab):
    """A copy of the notebook, run once for all tests here; none of them needs what another did."""
    shutil.copy(QUICKSTART, lab.root / "quickstart.ipynb")
    notebook = lab_driver.open_notebook(browser, lab, "quickstart.ipynb")
    notebook.cells = notebook.run_all()
    yield notebook
    notebook.page.close()
    assert notebook.outside == []
    assert notebook.faults == []


@pytest.fixture
def kept(lab):
    """The store the notebook's kernel writes to, opened from outside."""
    store = open_store(lab.store)
    yield Workspace(store)
    store.close()


def test_every_cell_runs_and_shows_its_result(quickstart):
    assert lab_driver.errors(quickstart.cells) == []
    code = [c for c in quickstart.cells if c["cell_type"] == "code"]
    assert [c["execution_count"] for c in code] == list(range(1, len(code) + 1))
    assert not [o for c in code for o in c["outputs"] if o.get("name") == "stderr"]  # no warnings either

    expect(quickstart.output("%mlops snapshot january").locator(".nbm-card")).to_contain_text("flights-january@1")
    for name in ("baseline", "boosted"):
        card = quickstart.output(f"%%mlops run {name}").locator(".nbm-card")
        expect(card).to_contain_text(name)
        expect(card).to_contain_text("roc_auc")
    expect(quickstart.output("max_leaf_nodes = 15").locator("img")).to_be_visible()
    expect(quickstart.output("%mlops promote").locator(".nbm-card")).to_contain_text("promoted")
    expect(quickstart.output("nbmlops.why(").locator(".nbm-block")).to_contain_text(f"model:{MODEL}@1")
    expect(quickstart.dashboard).to_be_visible()


def test_the_runs_table_has_a_row_for_each_run(quickstart):
    table = quickstart.output("%mlops runs").locator(".nbm-view[data-nbm-live]")
    expect(table.locator(".nbm-line").filter(has_text="flight delays")).to_have_count(3)
    for name in ("baseline", "boosted", "learning curve"):
        expect(table.get_by_role("row").filter(has_text=name)).to_be_visible()
    # The static twin of a live table is there for later, and takes no room now.
    expect(quickstart.output("%mlops runs").locator("[data-nbm]")).to_be_hidden()


def test_promote_and_approve_from_the_dashboard(quickstart, kept):
    dashboard = quickstart.dashboard
    dashboard.get_by_role("tab", name="Models").click()
    lab_driver.act(dashboard, "Promote to production", "Confirm promotion", "holds on January")
    expect(dashboard.locator(".nbm-result")).to_contain_text("waiting")
    expect(dashboard.locator(".nbm-waiting")).to_contain_text(f"{MODEL}@1 for production: holds on January (tester")
    assert kept.models.get(f"model:{MODEL}@1").aliases == ("staging",)

    lab_driver.act(dashboard, "Approve for production", "Confirm approval", "the airline agrees")
    expect(dashboard.locator(".nbm-result")).to_contain_text("approved")
    assert kept.models.get(f"model:{MODEL}@production").version == 1
    assert kept.promotion.pending() == []
    approved, asked = kept.events(f"model:{MODEL}@1")[:2]
    assert (asked.type, asked.user) == ("model.promotion-requested", "tester")
    assert asked.data["reason"] == "holds on January"
    assert (approved.type, approved.user) == ("model.approved", "tester")
    assert approved.data["reason"] == "the airline agrees"
    assert approved.data["environment"] == "production"
    assert kept.verify_ledger() > 0


@pytest.mark.parametrize("theme", [lab_driver.LIGHT, lab_driver.DARK])
def test_all_of_it_can_be_read(quickstart, theme, tmp_path):
    quickstart.theme(theme)
    places = quickstart.page.locator(".jp-OutputArea-output .nbm:visible").all()
    assert len(places) >= 9
    faint = [text for place in places for text in lab_driver.faint(place)]
    dashboard = quickstart.dashboard
    for tab in ("Runs", "Data sets", "Models", "Flows & alerts"):
        dashboard.get_by_role("tab", name=tab).click()
        expect(dashboard.get_by_role("tabpanel").locator(".nbm-box").first).to_be_visible()
        expect(dashboard.get_by_text("loading …")).to_have_count(0)
        dashboard.screenshot(path=tmp_path / f"{tab.split()[0]}.png")
        faint += lab_driver.faint(dashboard)
    assert faint == []


def test_the_saved_notebook_shows_its_tables_without_a_kernel(quickstart, browser, lab, tmp_path):
    quickstart.save()
    html, _ = HTMLExporter(template_name="lab").from_filename(lab.root / "quickstart.ipynb")
    (tmp_path / "saved.html").write_text(html, encoding="utf-8")
    saved = lab_driver.new_page(browser)
    saved.page.goto((tmp_path / "saved.html").as_uri(), wait_until="domcontentloaded")
    for name in ("baseline", "boosted"):
        row = saved.page.locator('[data-nbm][data-drawn="yes"] .nbm-line').filter(has_text=name)
        expect(row.first).to_be_visible()
    dashboard = saved.page.locator(".nbm-dashboard")
    dashboard.get_by_role("tab", name="Models").click()
    expect(dashboard.get_by_text(f"{MODEL}@1").first).to_be_visible()
    expect(dashboard.get_by_text("read-only")).to_be_visible()
    expect(dashboard.get_by_role("button", name="Roll back staging")).to_be_disabled()
    saved.page.screenshot(path=tmp_path / "saved.png", full_page=True)
    saved.page.close()


def test_opened_again_with_a_new_kernel_the_twins_are_shown(quickstart, browser, lab):
    quickstart.save()
    shutil.copy(lab.root / "quickstart.ipynb", lab.root / "tomorrow.ipynb")
    tomorrow = lab_driver.open_notebook(browser, lab, "tomorrow.ipynb")
    table = tomorrow.output("%mlops runs").locator('[data-nbm][data-drawn="yes"]')
    expect(table.locator(".nbm-line").filter(has_text="boosted")).to_be_visible()
    expect(tomorrow.output("%mlops dashboard").locator(".nbm-dashboard")).to_be_visible()
    # The live views cannot come back, and say so where nobody sees it.
    expect(tomorrow.page.get_by_text("Error displaying widget").filter(visible=True)).to_have_count(0)
    tomorrow.page.close()
