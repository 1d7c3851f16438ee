from __future__ import annotations

import re

import display_samples as s
import nbformat
import pytest

from nbmlops import display
from nbmlops.errors import InvalidValue
from nbmlops.reports import notebook_html

v4 = nbformat.v4
REMOTE = re.compile(r"<(script|link)\b[^>]*\b(src|href)\s*=\s*[\"']?\s*(https?:)?//", re.I)


def notebook(*cells, **metadata) -> bytes:
    return nbformat.writes(v4.new_notebook(cells=list(cells), metadata=metadata)).encode()


def html_output(html: str):
    return v4.new_code_cell(
        "x", execution_count=1, outputs=[v4.new_output("display_data", {"text/html": html, "text/plain": "x"})]
    )


def test_page_shows_code_text_and_outputs():
    error = v4.new_output(
        "error", ename="ValueError", evalue="no <rows>", traceback=["\x1b[31mValueError\x1b[0m: no <rows>"]
    )
    page = notebook_html(
        notebook(
            v4.new_markdown_cell("# Flights"),
            v4.new_code_cell(
                "a = 1  # <b>", execution_count=3, outputs=[v4.new_output("stream", name="stdout", text="<hello>")]
            ),
            v4.new_code_cell("1/0", outputs=[error]),
            html_output(display.html(s.run(1))),
        )
    )
    for part in ("Flights", "&lt;hello&gt;", "&lt;b&gt;", "In\u00a0[3]", "ansi-red-fg", "no &lt;rows&gt;", "nbm-card"):
        assert part in page
    assert page.count("<html") == page.count("</html>") == 1
    assert "prefers-color-scheme: dark" in page


def test_page_refers_to_nothing_outside():
    page = notebook_html(
        notebook(
            html_output(
                '<script src="https://cdn.example/x.js"></script><SCRIPT async src=//cdn.example/y.js></SCRIPT >'
            ),
            html_output("<link rel='stylesheet' href='http://cdn.example/x.css'>"),
            widgets={
                "application/vnd.jupyter.widget-state+json": {"state": {}, "version_major": 2, "version_minor": 0}
            },
        )
    )
    assert not REMOTE.search(page)
    assert "require.js" not in page
    assert "mathjax" not in page.lower()
    assert "default-src 'none'" in page
    assert "connect-src" not in page


def test_widgets_show_their_static_html():
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "m", "version_major": 2, "version_minor": 0}}
    cell = v4.new_code_cell(
        "w", outputs=[v4.new_output("display_data", {**view, "text/html": "<b>twin</b>", "text/plain": "w"})]
    )
    state = {"application/vnd.jupyter.widget-state+json": {"state": {"m": {}}, "version_major": 2, "version_minor": 0}}
    page = notebook_html(notebook(cell, widgets=state))
    assert "<b>twin</b>" in page
    assert "widget-view+json" not in page


def test_title_is_escaped():
    assert f"<title>{'&lt;script&gt;'}</title>" in notebook_html(notebook(title="<script>"))
    assert "<title>run &lt;1&gt;</title>" in notebook_html(notebook(title="x"), title="run <1>")
    assert "<title>notebook</title>" in notebook_html(notebook().decode())


def test_old_notebooks_are_read():
    node = nbformat.v3.new_notebook(
        worksheets=[nbformat.v3.new_worksheet(cells=[nbformat.v3.new_code_cell(input="print(1)")])]
    )
    assert "print" in notebook_html(nbformat.v3.writes_json(node))


@pytest.mark.parametrize("given", [b"", b"\xff\xfe", b"[]", b"{}", b"not json", b'{"nbformat": 4, "cells": 3}'])
def test_other_bytes_are_refused(given):
    with pytest.raises(InvalidValue):
        notebook_html(given)
