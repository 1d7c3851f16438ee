"""The static twins in a real browser: what a reader without a kernel and without a network sees and can do."""

from __future__ import annotations

import shutil

import display_samples as s
import pytest
from fake_workspace import fake_workspace

from nbmlops import display
from nbmlops.display import Listing
from nbmlops.reports import notebook_html
from nbmlops.widgets import dashboard_page, esm, tables

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.browser
LIGHT, DARK = "light", "dark"


@pytest.fixture(scope="module")
def browser():
    from playwright import sync_api as playwright

    assert CHROMIUM, "chromium is needed for these tests\n  -> make services"
    with playwright.sync_playwright() as pw:
        found = pw.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield found
        found.close()


@pytest.fixture
def show(browser, tmp_path):
    """Open a page from text; at the end: no error, nothing asked of the network, no script of ours' data has run."""
    opened, faults = [], []

    def open_page(html: str, scheme: str = LIGHT):
        page = browser.new_page(viewport={"width": 1200, "height": 900}, color_scheme=scheme)
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda e: faults.append(str(e)))
        page.on("console", lambda m: m.type == "error" and faults.append(m.text))
        page.on("request", lambda r: r.url.startswith(("file:", "data:")) or faults.append(f"asked for {r.url}"))
        file = tmp_path / f"{len(opened)}.html"
        file.write_text(html, encoding="utf-8")
        page.goto(file.as_uri())
        opened.append(page)
        return page

    yield open_page
    for page in opened:
        assert page.evaluate("window.hacked") is None
        page.close()
    assert faults == []


@pytest.fixture
def runs_page(show, monkeypatch):
    monkeypatch.setattr(tables, "MOST_TWIN", 5000)
    runs = Listing([s.run(i, name=s.EVIL) if i == 7 else s.run(i) for i in range(1, 5001)], "runs")
    page = show(esm.page("runs", tables.table(runs).static_html()))
    page.wait_for_selector(".nbm-line")
    return page


def shown(page, place: int = 0) -> list[str]:
    """The texts of one column of the rows in sight."""
    cells = page.locator(f".nbm-line .nbm-cell:nth-child({place + 2})")
    return [t.strip() for t in cells.all_text_contents()]


def contrast(page, selector: str) -> float:
    """WCAG contrast of an element's text with the nearest background behind it."""
    return page.locator(selector).first.evaluate("""(e) => {
        const rgb = (c) => { const x = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
            x.fillStyle = c; x.fillRect(0, 0, 1, 1); return x.getImageData(0, 0, 1, 1).data; };
        const light = (c) => [0.2126, 0.7152, 0.0722].reduce((s, w, i) => { const v = c[i] / 255;
            return s + w * (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); }, 0);
        let box = e, back = [0, 0, 0, 0];
        while (box && back[3] < 250) { back = rgb(getComputedStyle(box).backgroundColor); box = box.parentElement; }
        const a = light(rgb(getComputedStyle(e).color)), b = light(back);
        return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    }""")


def test_thousands_of_rows_are_few_elements(runs_page):
    assert "5,000 runs" in runs_page.inner_text(".nbm-count")
    assert runs_page.locator(".nbm-line").count() < 60
    runs_page.locator(".nbm-box").evaluate("(e) => { e.scrollTop = e.scrollHeight; }")
    runs_page.wait_for_selector("text=run-5000")
    assert runs_page.locator(".nbm-line").count() < 60


def test_sorting_by_header(runs_page):
    head = runs_page.locator("[role=columnheader]", has_text="auc")
    assert head.get_attribute("aria-sort") == "none"
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    place = [t.split(" ")[0] for t in runs_page.locator("[role=columnheader]").all_text_contents()].index("auc")
    values = [float(v) for v in shown(runs_page, place)]
    assert values == sorted(values)
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    values = [float(v) for v in shown(runs_page, place)]
    assert values == sorted(values, reverse=True)
    head.get_by_role("button").click()
    assert shown(runs_page)[0] == "run-1"


def test_what_is_not_a_number_is_sorted_last(runs_page):
    head = runs_page.locator("[role=columnheader]", has_text="loss").get_by_role("button")
    for _ in range(2):
        head.click()
        assert "nan" not in shown(runs_page, 7)


@pytest.mark.parametrize(
    ("text", "count"),
    [("RUN-4999", "1 of 5,000"), ("status=FAILED", "1,250 of 5,000"), ("auc>0.99 FINISHED", "20 of 5,000")],
)
def test_filter(runs_page, text, count):
    runs_page.fill("input[type=search]", text)
    assert count in runs_page.inner_text(".nbm-count")
    runs_page.fill("input[type=search]", "nothing like this")
    assert "no row matches" in runs_page.inner_text(".nbm-box")


def test_columns_can_be_chosen(runs_page):
    runs_page.click("summary")
    runs_page.locator(".nbm-choices label", has_text="run id").click()
    assert runs_page.locator("[role=columnheader]", has_text="run id").count() == 1
    runs_page.locator(".nbm-choices label", has_text="experiment").click()
    assert runs_page.locator("[role=columnheader]", has_text="experiment").count() == 0


def test_keyboard_selects_and_compares(runs_page):
    runs_page.focus(".nbm-box")
    for key in ("ArrowDown", "Space", "ArrowDown", "ArrowDown", "Space"):
        runs_page.keyboard.press(key)
    assert "2 selected" in runs_page.inner_text(".nbm-count")
    compared = runs_page.locator(".nbm-compare")
    assert compared.locator("th").all_text_contents() == ["", "run-1", "run-3"]
    assert "lr" in " ".join(compared.locator("tr.nbm-differs").all_text_contents())
    runs_page.keyboard.press("End")
    runs_page.wait_for_selector("text=run-5000")


def test_hostile_names_are_shown(runs_page):
    assert s.EVIL in shown(runs_page)


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_cards_are_readable(show, scheme):
    page = show(esm.page("cards", "".join(display.html(r) for r in s.ALL.values())), scheme)
    for selector in (".nbm-name", ".nbm-kind", ".nbm-grid td", ".nbm-grid th", ".nbm-facts td"):
        assert contrast(page, selector) > 4.5, selector
    back = page.locator(".nbm").first.evaluate("(e) => getComputedStyle(e).backgroundColor")
    assert (back == "rgb(255, 255, 255)") == (scheme == LIGHT)


@pytest.mark.parametrize("scheme", [LIGHT, DARK])
def test_dashboard_twin(show, scheme):
    page = show(dashboard_page(fake_workspace()), scheme)
    page.wait_for_selector(".nbm-line")
    assert contrast(page, ".nbm-line .nbm-cell:nth-child(2)") > 4.5
    for place in (0, 1, 3):
        page.locator(".nbm-line input").nth(place).click()
    page.wait_for_selector(".nbm-plot >> nth=1")
    assert page.locator(".nbm-figure figcaption").all_text_contents() == ["auc", "loss"]
    assert page.locator(".nbm-figure").first.locator("path").count() == 3
    page.hover(".nbm-plot >> nth=0")
    assert "run-1" in page.inner_text(".nbm-tip >> nth=0")
    assert page.locator(".nbm-compare th").all_text_contents()[1:] == ["run-1", s.EVIL, "run-4"]
    page.locator(".nbm-line").nth(2).click()
    page.wait_for_selector(".nbm-detail >> text=run-3")
    page.get_by_role("tab", name="Data sets").click()
    page.wait_for_selector(".nbm-histogram >> nth=1")
    assert "60 %" in page.inner_text(".nbm-profile")
    page.get_by_role("tab", name="Data sets").press("ArrowRight")
    page.wait_for_selector("text=1 approval is waiting")
    page.get_by_role("button", name="Look at it").click()
    act = page.get_by_role("button", name="Approve for production")
    assert act.is_disabled()
    assert "saved copy" in page.inner_text(".nbm-acts")
    page.get_by_role("tab", name="Flows").click()
    page.wait_for_selector("text=gates")
    assert "categorical" in page.inner_text("[role=tabpanel]:not([hidden])")


def test_twin_inside_a_report(show):
    import nbformat

    v4 = nbformat.v4
    html = tables.table(Listing([s.run(i) for i in range(1, 6)], "runs")).static_html()
    cell = v4.new_code_cell(
        "table(runs)", outputs=[v4.new_output("display_data", {"text/html": html, "text/plain": ""})]
    )
    page = show(notebook_html(nbformat.writes(v4.new_notebook(cells=[cell]))), DARK)
    page.wait_for_selector(".nbm-line >> nth=4")
    assert "5 runs" in page.inner_text(".nbm-count")


def test_same_twin_twice_on_one_page(show):
    html = tables.table([s.run(1)], "runs").static_html()
    page = show(esm.page("twice", html + html))
    page.wait_for_selector(".nbm-line >> nth=1")
