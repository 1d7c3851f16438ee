"""One JupyterLab for all browser tests, one browser for each module, one page for each notebook."""

from __future__ import annotations

import lab_driver
import pytest
from playwright.sync_api import sync_playwright


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    started = lab_driver.Lab(tmp_path_factory.mktemp("lab"))
    try:
        started.wait()
        yield started
    finally:
        started.stop()


# Of a module, not of the session: as long as playwright is there, its event loop runs, and asyncio.run() is refused.
@pytest.fixture(scope="module")
def browser():
    path = lab_driver.chromium()
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=list(lab_driver.CHROMIUM))
        yield opened
        opened.close()
