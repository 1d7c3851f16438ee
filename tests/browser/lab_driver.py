"""A real JupyterLab and a real chromium: start them, open notebooks, run cells, read colours."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from playwright.sync_api import Browser, Locator, Page, expect

START_SECONDS = 90
RUN_SECONDS = 150
WAIT_MS = 30_000
READABLE = 4.5  # WCAG 2.2, 1.4.3, level AA
expect.set_options(timeout=WAIT_MS)
LIGHT, DARK = "JupyterLab Light", "JupyterLab Dark"
# News, tours and pings are none of a test's business.
OVERRIDES = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False}}
# No name is resolved: what a page asks of another machine fails, on a machine with a network too.
CHROMIUM = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
HERE = ("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:", "file:")


def chromium() -> str:
    """The browser's path; a machine without one fails here, since a skipped test proves nothing."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        raise RuntimeError("chromium is not installed, and the browser tests need it\n  -> make services")
    return found


class Lab:
    """One JupyterLab server with its own settings and its own store; kernels inherit its environment."""

    def __init__(self, root: Path) -> None:
        self.root, self.store = root, root / "store"
        self._home = root / ".home"
        self._port, self._token = _free_port(), secrets.token_hex(8)
        settings = self._home / "settings"
        settings.mkdir(parents=True)
        (settings / "overrides.json").write_text(json.dumps(OVERRIDES))
        options = (
            "--no-browser",
            "--allow-root",
            "--ServerApp.ip=127.0.0.1",
            f"--ServerApp.port={self._port}",
            "--ServerApp.port_retries=0",
            f"--IdentityProvider.token={self._token}",
            f"--ServerApp.root_dir={root}",
            f"--LabApp.app_settings_dir={settings}",
            "--LabApp.expose_app_in_browser=True",
        )
        self._log = (self._home / "lab.log").open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            env=self._environment(),
            cwd=root,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )

    def _environment(self) -> dict[str, str]:
        folders = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "user",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "IPYTHONDIR": "ipython",
        }
        # The tests' own backend must not reach the kernels: a notebook shows its figures.
        kept = {k: v for k, v in os.environ.items() if not k.startswith("NBMLOPS_") and k != "MPLBACKEND"}
        own = {name: str(self._home / folder) for name, folder in folders.items()}
        # One thread: on a busy machine of few cores, OpenMP's threads wait for each other longer than they compute.
        return kept | own | {"NBMLOPS_STORE": str(self.store), "NBMLOPS_USER": "tester", "OMP_NUM_THREADS": "1"}

    def wait(self) -> None:
        """Until the server answers."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                with urllib.request.urlopen(self.url("api/status"), timeout=5):
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                if self._process.poll() is not None or time.monotonic() > deadline:
                    log = (self._home / "lab.log").read_text()[-3000:]
                    raise RuntimeError(f"JupyterLab did not start\n{log}") from None
                time.sleep(0.1)

    def stop(self) -> None:
        """End the server with its kernels."""
        try:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        except ProcessLookupError:
            pass
        finally:
            self._log.close()

    def url(self, path: str) -> str:
        """The address of a path, with the token."""
        return f"http://127.0.0.1:{self._port}/{path}?token={self._token}"

    @property
    def data(self) -> Path:
        """Where its user's Jupyter files are, such as kernelspecs."""
        return self._home / "data"

    def write(self, name: str, cells: Sequence[str], kernel: str = "python3") -> None:
        """A new notebook of code cells."""
        made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
        made.metadata["kernelspec"] = {"name": kernel, "display_name": kernel, "language": "python"}
        nbformat.write(made, self.root / name)


# JavaScript that waits for the open notebook and its kernel.
READY = """
    const app = window.jupyterapp;
    await app.restored;
    const panel = app.shell.currentWidget;
    await panel.context.ready;
    await panel.sessionContext.ready;
    await panel.sessionContext.session.kernel.info;
"""
_RUN = f"""async ([index, source]) => {{{READY}
    if (source !== null) panel.content.model.sharedModel.cells[index].setSource(source);
    panel.content.activeCellIndex = index;
    panel.content.deselectAll();
    await app.commands.execute("notebook:run-cell");
}}"""
_DELETE = """async (index) => {
    const panel = window.jupyterapp.shell.currentWidget;
    panel.content.activeCellIndex = index;
    await window.jupyterapp.commands.execute("notebook:delete-cell");
}"""


@dataclass
class Notebook:
    """A notebook open in JupyterLab."""

    page: Page
    outside: list[str]  # what was asked of any other machine
    faults: list[str]  # errors no script caught
    cells: Sequence[dict[str, Any]] = ()  # as they were after the last run of all

    def run_all(self) -> list[dict[str, Any]]:
        """Run all cells; gives them as they are afterwards, in the notebook's own JSON.

        By the application object: a click on Run All is lost while the kernel is not yet connected, although the
        toolbar says idle by then.
        """
        return self.page.evaluate(
            """async (seconds) => {
                const app = window.jupyterapp;
                const late = new Promise((_, no) => {
                    setTimeout(() => no(Error(`not done in ${seconds} s`)), 1000 * seconds);
                });
                const run = async () => {
                    await app.restored;
                    const panel = app.shell.currentWidget;
                    await panel.context.ready;
                    await panel.sessionContext.ready;
                    await panel.sessionContext.session.kernel.info;
                    await app.commands.execute("notebook:run-all-cells");
                    return panel.content.model.sharedModel.toJSON().cells;
                };
                return Promise.race([run(), late]);
            }""",
            RUN_SECONDS,
        )

    def run(self, index: int, source: str | None = None) -> None:
        """Run one cell, with a new text if one is given."""
        self.page.evaluate(_RUN, [index, source])

    def delete(self, index: int) -> None:
        """Delete a cell, as a person does."""
        self.page.evaluate(_DELETE, index)

    def move(self, index: int, to: int) -> None:
        """Move a cell."""
        moved = "([from, to]) => window.jupyterapp.shell.currentWidget.content.model.sharedModel.moveCell(from, to)"
        self.page.evaluate(moved, [index, to])

    def sources(self) -> list[str]:
        """The cells' texts."""
        shown = "() => window.jupyterapp.shell.currentWidget.content.model.sharedModel.toJSON().cells"
        return [cell["source"] for cell in self.page.evaluate(shown)]

    def outputs(self, index: int) -> Locator:
        """The outputs of a code cell by its place."""
        return self.page.locator(".jp-CodeCell").nth(index).locator(".jp-OutputArea")

    def save(self) -> None:
        """Save it, with what it shows."""
        self.page.evaluate("async () => { await window.jupyterapp.commands.execute('docmanager:save'); }")

    def theme(self, name: str) -> None:
        """Light or dark; Lab covers the page while it changes."""
        self.page.evaluate("(theme) => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", name)
        light = "true" if name == LIGHT else "false"
        self.page.wait_for_selector(f"body[data-jp-theme-light={light}]", state="attached")
        self.page.wait_for_selector("#jupyterlab-splash", state="detached")

    def output(self, source: str) -> Locator:
        """The outputs of the cell whose source has this text."""
        cell = self.page.locator(".jp-CodeCell").filter(has=self.page.locator(".jp-InputArea", has_text=source))
        return cell.locator(".jp-OutputArea")

    @property
    def dashboard(self) -> Locator:
        """The live dashboard, not its static twin."""
        return self.page.locator(".nbm-dashboard[data-nbm-live]")


def new_page(browser: Browser) -> Notebook:
    """A page that keeps what it asked of other machines."""
    page = browser.new_page(viewport={"width": 1400, "height": 1000})
    page.set_default_timeout(WAIT_MS)
    notebook = Notebook(page, [], [])

    for event in ("request", "websocket"):
        page.on(event, lambda asked: asked.url.startswith(HERE) or notebook.outside.append(asked.url))
    page.on("pageerror", lambda error: notebook.faults.append(str(error)))
    return notebook


def open_notebook(browser: Browser, lab: Lab, name: str) -> Notebook:
    """Open a notebook of the server's folder; its kernel starts."""
    notebook = new_page(browser)
    notebook.page.goto(lab.url(f"lab/tree/{name}") + "&reset")
    notebook.page.wait_for_selector("#jupyterlab-splash", state="detached")
    notebook.page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
    return notebook


def errors(cells: Sequence[dict[str, Any]]) -> list[str]:
    """Every error among the cells' outputs."""
    outputs = [o for c in cells for o in c.get("outputs", ())]
    return [f"{o['ename']}: {o['evalue']}" for o in outputs if o["output_type"] == "error"]


def act(dashboard: Locator, button: str, confirm: str, reason: str) -> None:
    """Press a model's button, give the reason, confirm, and wait for the answer."""
    dashboard.get_by_role("button", name=button, exact=True).click()
    form = dashboard.locator("form.nbm-ask")
    expect(form.get_by_role("button", name=confirm)).to_be_disabled()
    form.get_by_role("textbox").fill(reason)
    form.get_by_role("button", name=confirm).click()
    expect(dashboard.locator(".nbm-result .nbm-detail")).to_contain_text(reason)


# Contrast as WCAG 2.2 defines it, of every element with text of its own against what is painted behind it.
_CONTRAST = """(root) => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 1, height: 1 });
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    const rgba = (color) => {
        pen.clearRect(0, 0, 1, 1);
        pen.fillStyle = color;
        pen.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
        return [r, g, b, a / 255];
    };
    const over = ([r, g, b, a], below) => [r, g, b].map((v, i) => v * a + below[i] * (1 - a));
    const behind = (e) => {
        const layers = [];
        for (let at = e; at; at = at.parentElement) {
            const color = rgba(getComputedStyle(at).backgroundColor);
            layers.push(color);
            if (color[3] === 1) break;
        }
        return layers.reverse().reduce((below, color) => over(color, below), [255, 255, 255]);
    };
    const light = (rgb) => rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const found = [];
    for (const e of root.querySelectorAll("*")) {
        const own = [...e.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.data.trim());
        const skipped = e.disabled || e instanceof SVGElement || e.matches("style, script");
        if (!own || skipped || !e.getClientRects().length) continue;
        const back = behind(e), ink = light(over(rgba(getComputedStyle(e).color), back)), paper = light(back);
        const ratio = (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
        found.push({ text: e.textContent.trim().slice(0, 40), class: e.className, tag: e.tagName, ratio });
    }
    return found;
}"""


def faint(place: Locator) -> list[dict[str, Any]]:
    """The texts under a place that cannot be read well: their ``text``, ``class``, ``tag`` and contrast ``ratio``."""
    texts = place.evaluate(_CONTRAST)
    assert texts, "nothing there has a text"
    return [t for t in texts if t["ratio"] < READABLE]


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
