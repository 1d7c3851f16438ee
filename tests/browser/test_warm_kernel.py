"""The warm kernelspec in JupyterLab: cells run, figures show, and it is interrupted and restarted like any other."""

from __future__ import annotations

import re

import lab_driver
import pytest
from playwright.sync_api import expect

from nbmlops.kernels import spec

pytestmark = [pytest.mark.browser, pytest.mark.slow]

_RUN = f"""async () => {{{lab_driver.READY}
    app.commands.execute("notebook:run-all-cells");
}}"""
_KERNEL = "async (verb) => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel[verb]()"


def test_the_warm_kernel_in_jupyterlab(browser, lab, monkeypatch):
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(lab.data))
    spec.install(["numpy", "matplotlib.pyplot"], user=True)
    cells = [
        "import sys\nprint('numpy' in sys.modules)",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2]);",
        "print('waiting', flush=True)\nwhile True:\n    pass",
    ]
    lab.write("warm.ipynb", cells, kernel="nbmlops")
    notebook = lab_driver.open_notebook(browser, lab, "warm.ipynb")
    notebook.page.evaluate(_RUN)
    expect(notebook.output("'numpy' in")).to_have_text("True")
    expect(notebook.output("plt.plot").locator("img")).to_be_visible()
    expect(notebook.output("while True")).to_contain_text("waiting")
    notebook.page.evaluate(_KERNEL, "interrupt")
    expect(notebook.output("while True")).to_contain_text("KeyboardInterrupt")

    notebook.page.evaluate(_KERNEL, "restart")
    notebook.page.evaluate(_RUN)
    expect(notebook.page.locator(".jp-InputPrompt").first).to_have_text(re.compile(r"\[1\]:"))
    expect(notebook.output("while True")).to_have_text("waiting")
    notebook.page.evaluate(_KERNEL, "shutdown")
    notebook.page.close()
    assert notebook.faults == []
