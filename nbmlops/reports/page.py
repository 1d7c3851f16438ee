"""Notebook bytes -> a stand-alone page. nbconvert renders the cells; head, style and policy are ours.

nbconvert's own pages load require.js, MathJax and widget code from content delivery networks, so they need a network
and say who reads them. Here formulas stay as they were typed, and widgets show the static HTML saved beside them.
"""

from __future__ import annotations

import functools
import importlib.resources
import re
import warnings
from html import escape
from typing import Any

from nbmlops.errors import InvalidValue

# The guarantee: whatever an output holds, the reader's browser fetches nothing.
POLICY = (
    "default-src 'none'; img-src data: blob:; media-src data: blob:; font-src data:; "
    "style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval' data: blob:; "
    "form-action 'none'; base-uri 'none'"
)
# Dead weight under that policy: scripts and style sheets from elsewhere.
_REMOTE_SCRIPT = re.compile(r"<script\b[^>]*\bsrc\s*=\s*[\"']?\s*(?:https?:)?//[^>]*>.*?</script\s*>", re.I | re.S)
_REMOTE_LINK = re.compile(r"<link\b[^>]*\bhref\s*=\s*[\"']?\s*(?:https?:)?//[^>]*>", re.I | re.S)


def notebook_html(notebook: bytes | str, title: str = "", *, code: bool = True) -> str:
    """An executed notebook as one HTML page without any reference to the network.

    Args:
        notebook: the bytes or text of an ``.ipynb`` file, of any nbformat version.
        title: of the page; by default what the notebook's metadata say, else ``notebook``.
        code: show the code too, not only what it gave.

    Raises:
        InvalidValue: these bytes are no notebook.
    """
    node = _read(notebook)
    head = title or str(node.metadata.get("title") or "notebook")
    # Without the state of widgets nbconvert takes the static HTML saved beside each of them.
    node.metadata.pop("widgets", None)
    body = _REMOTE_LINK.sub("", _REMOTE_SCRIPT.sub("", _cells(node, code)))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">'
        f"<title>{escape(head)}</title><style>{_style()}</style></head>\n"
        f'<body><main class="nb">\n{body}\n</main></body></html>\n'
    )


def _read(notebook: bytes | str) -> Any:
    import nbformat

    try:
        text = notebook.decode("utf-8") if isinstance(notebook, bytes) else notebook
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # missing cell ids of older notebooks are no concern of a reader
            return nbformat.reads(text, as_version=4)
    except (ValueError, KeyError, TypeError, AttributeError, nbformat.ValidationError) as error:
        raise InvalidValue(
            f"these bytes are no notebook: {error}"[:300], "give the content of an .ipynb file"
        ) from error


def _cells(node: Any, code: bool) -> str:
    from nbconvert.exporters import HTMLExporter

    exporter = HTMLExporter(
        template_name="basic", exclude_anchor_links=True, exclude_input=not code, exclude_output_prompt=not code
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an output of an unknown type, or an image without a description
        body, _ = exporter.from_notebook_node(node)
    return body


@functools.cache
def _style() -> str:
    """Our page style, and Pygments' colours for code: one set for light pages, one for dark ones."""
    from pygments.formatters import HtmlFormatter

    own = importlib.resources.files("nbmlops.reports").joinpath("page.css").read_text(encoding="utf-8")
    light, dark = (HtmlFormatter(style=name).get_style_defs(".highlight") for name in ("default", "github-dark"))
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n{own}"
