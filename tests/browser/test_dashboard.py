"""The dashboard on stores of its own: what the buttons write, what the tabs draw, and data that would be a script."""

from __future__ import annotations

import lab_driver
import numpy as np
import pandas as pd
import pytest
from playwright.sync_api import expect
from sklearn.linear_model import LogisticRegression

from nbmlops.context import Context
from nbmlops.store import open_store
from nbmlops.workspace import Workspace

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HOSTILE = "<script>window.hacked=1</script><img src=x onerror=window.hacked=1>"


@pytest.fixture
def kept(tmp_path):
    """The store of this test, opened outside of the notebook."""
    store = open_store(tmp_path / "kept")
    yield Workspace(store, lambda: Context(user="maker"))
    store.close()


@pytest.fixture
def notebook(request, browser, lab, tmp_path):
    """Write, open and run a notebook of these cells, on this test's store; no cell may fail."""
    opened = []

    def run(*cells: str) -> lab_driver.Notebook:
        name = f"{request.node.originalname}.ipynb"
        lab.write(name, [f"%env NBMLOPS_STORE={tmp_path / 'kept'}\n%load_ext nbmlops", *cells])
        made = lab_driver.open_notebook(browser, lab, name)
        opened.append(made)
        made.cells = made.run_all()
        assert lab_driver.errors(made.cells) == []
        return made

    yield run
    for made in opened:
        assert made.page.evaluate("window.hacked") is None
        made.page.close()
        assert made.outside == []
        assert made.faults == []


def _frame() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame({"age": rng.integers(18, 80, 60), "city": rng.choice(["Oslo", "Rome"], 60)})


def _fitted(strength: float) -> LogisticRegression:
    people = _frame()[["age"]]
    return LogisticRegression(C=strength).fit(people, np.where(people["age"] > 40, "yes", "no"))


def _stands(kept: Workspace, ref: str) -> int:
    return kept.models.get(f"model:churn@{ref}").version


def test_reject_and_roll_back(kept, notebook):
    people = _frame()[["age"]]
    kept.models.register(_fitted(1.0), "churn", training_data=people)
    kept.promotion.promote("model:churn@1", "staging", "first")
    # The second version comes from the notebook itself.
    made = notebook(
        "%%mlops run second\nimport pandas as pd\nfrom sklearn.linear_model import LogisticRegression\n"
        "people = pd.DataFrame({'age': range(18, 78)})\n"
        "second = LogisticRegression(C=0.1).fit(people, ['no'] * 30 + ['yes'] * 30)",
        "%mlops register second --name churn",
        "%mlops promote churn@2 --to staging --reason better",
        "%mlops promote churn@2 --to production --reason 'ready, I think'",
        "%mlops dashboard",
    )
    dashboard = made.dashboard
    dashboard.get_by_role("tab", name="Models").click()
    expect(dashboard.locator(".nbm-waiting")).to_contain_text("churn@2 for production: ready, I think (tester")

    lab_driver.act(dashboard, "Reject for production", "Confirm rejection", "no test in May")
    expect(dashboard.locator(".nbm-waiting")).to_have_count(0)
    assert kept.promotion.pending() == []
    assert "production" not in kept.models.get("model:churn@2").aliases
    rejected = kept.events("model:churn@2")[0]
    assert (rejected.type, rejected.user) == ("model.rejected", "tester")
    assert (rejected.data["reason"], rejected.data["requested_by"]) == ("no test in May", "tester")

    assert _stands(kept, "staging") == 2
    lab_driver.act(dashboard, "Roll back staging", "Confirm roll back", "it was worse")
    expect(dashboard.locator(".nbm-result")).to_contain_text("churn@1")
    assert _stands(kept, "staging") == 1
    rolled = kept.promotion.history("churn", "staging")[0]
    assert (rolled["version"], rolled["previous"], rolled["user"], rolled["reason"]) == (1, 2, "tester", "it was worse")
    assert kept.verify_ledger() > 0


def test_a_refusal_is_shown_and_changes_nothing(kept, notebook):
    kept.models.register(_fitted(1.0), "churn", training_data=_frame()[["age"]])
    dashboard = notebook("%mlops dashboard").dashboard
    dashboard.get_by_role("tab", name="Models").click()
    dashboard.get_by_role("button", name="Promote to production").click()
    form = dashboard.locator("form.nbm-ask")
    form.get_by_role("textbox").fill("straight to the top")
    form.get_by_role("button", name="Confirm promotion").click()
    expect(form.get_by_role("alert")).to_contain_text("nothing stands there")
    assert kept.models.get("model:churn@1").aliases == ()
    assert kept.events("model:churn@1")[0].type == "model.promotion-blocked"


def test_runs_are_compared_and_curves_and_profiles_drawn(kept, notebook, tmp_path):
    for name, rate in (("slow", 0.1), ("fast", 0.5)):
        run = kept.runs.start("curves", name)
        run.log_param("rate", rate)
        for step in range(20):
            run.log_metric("loss", float(np.exp(-rate * step)), step=step)
        run.end()
    kept.datasets.snapshot(_frame(), "people")
    made = notebook("%mlops dashboard")
    dashboard = made.dashboard
    rows = dashboard.get_by_role("tabpanel").locator(".nbm-line")
    for name in ("slow", "fast"):
        rows.filter(has_text=name).get_by_role("checkbox").check()
    comparison = dashboard.locator(".nbm-compare")
    expect(comparison.locator("th", has_text="slow")).to_be_visible()
    expect(comparison.locator("tr.nbm-differs", has_text="rate")).to_contain_text("0.5")
    figure = dashboard.locator("figure", has_text="loss")
    expect(figure.locator("svg path")).to_have_count(2)
    for path in figure.locator("svg path").all():
        assert path.get_attribute("d").count("L") == 19
        assert path.bounding_box()["width"] > 200
    for theme in (lab_driver.LIGHT, lab_driver.DARK):
        made.theme(theme)
        dashboard.screenshot(path=tmp_path / f"curves {theme}.png")
        assert lab_driver.faint(dashboard) == []

    rows.filter(has_text="slow").locator(".nbm-cell", has_text="curves").click()
    expect(dashboard.locator(".nbm-detail")).to_contain_text("params")

    dashboard.get_by_role("tab", name="Data sets").click()
    profile = dashboard.locator(".nbm-profile")
    expect(profile.locator("tr", has_text="age").locator("svg.nbm-histogram rect.nbm-bin").first).to_be_visible()
    expect(profile.locator("tr", has_text="city")).to_contain_text("Oslo")


def test_a_hostile_name_stays_text_everywhere(kept, notebook):
    made = notebook(
        f"import nbmlops\nwith nbmlops.start_run({HOSTILE!r}) as run:\n"
        f"    nbmlops.log_param('note', {HOSTILE!r})\n    nbmlops.log_metric('loss', 1.0)\nrun.record",
        "%mlops runs",
        "%mlops dashboard",
    )
    expect(made.output("nbmlops.start_run(").locator(".nbm-name")).to_have_text(HOSTILE)
    table = made.output("%mlops runs").locator(".nbm-view[data-nbm-live]")
    expect(table.locator(".nbm-line")).to_contain_text(HOSTILE)
    expect(made.dashboard.locator(".nbm-line")).to_contain_text(HOSTILE)
    made.dashboard.locator(".nbm-line").locator(".nbm-cell", has_text=HOSTILE).first.click()
    expect(made.dashboard.locator(".nbm-detail .nbm-name")).to_have_text(HOSTILE)
    assert made.page.locator(".nbm img, .nbm script").count() == 0
