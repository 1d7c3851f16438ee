"""The widgets' modules and styles put together, and pages that draw them without a kernel and without a network."""

from __future__ import annotations

import base64
import functools
import hashlib
import importlib.resources
import json
from collections.abc import Mapping
from html import escape
from typing import Any

from nbmlops.display.markup import style

# Each module is its files one after the other: no bundler, no import of one widget's file by another.
MODULES = {
    "table": ("dom", "grid", "table"),
    "dashboard": ("dom", "grid", "chart", "runs", "data", "models", "flows", "dashboard"),
}


def _read(name: str) -> str:
    return importlib.resources.files("nbmlops.widgets").joinpath("static", name).read_text(encoding="utf-8")


@functools.cache
def source(name: str) -> str:
    """The ES module of a widget."""
    return "\n".join(_read(f"{part}.js") for part in MODULES[name])


@functools.cache
def css() -> str:
    """The style of all widgets, with the theme that cards have too."""
    return style("theme", "card") + _read("view.css")


def embedded(value: Any) -> str:
    """JSON that is safe inside a script element: no ``<`` is left that could close it."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


# In a live notebook the widget itself is given a moment to appear; the twin is drawn only if it does not.
_STAND_IN = """\
const box=[...document.querySelectorAll('[data-nbm="%(mark)s"]')].find((e)=>!e.dataset.drawn);
const alive=()=>document.querySelector('[data-nbm-live="%(mark)s"]');
if(box){box.dataset.drawn="waiting";
for(let i=0;i<20&&box.closest(".jp-NotebookPanel")&&!alive();i++)await new Promise((r)=>setTimeout(r,100));
if(alive())box.hidden=true;else{const state=%(state)s;
const model={get:(k)=>state[k],set:(k,v)=>{state[k]=v},save_changes(){},send(){},on(){},off(){}};
const widget=await import("data:text/javascript;base64,%(code)s");
box.dataset.drawn="yes";box.replaceChildren();widget.default.render({model,el:box});}}"""

# Until then it takes no room; JupyterLab's "Loading widget" and "model not found" are not shown above a twin.
_LIVE_STYLE = (
    '.jp-NotebookPanel [data-nbm]:not([data-drawn="yes"]){display:none}[data-nbm][hidden]{display:none}'
    ".jp-OutputArea-child:has(+.jp-OutputArea-child [data-nbm]) .jp-OutputArea-output:not(:has(*)){display:none}"
)


def twin(name: str, state: Mapping[str, Any], bare: str, token: str = "") -> str:
    """The widget as a fragment that draws itself.

    Args:
        name: of the module.
        state: what the module asks of its model.
        bare: HTML for readers that run no script.
        token: of the live widget whose twin it is; the live one hides it.
    """
    data = embedded(state)
    mark = token or hashlib.blake2b(data.encode(), digest_size=6).hexdigest()
    code = base64.b64encode(source(name).encode()).decode()
    script = _STAND_IN % {"mark": mark, "state": data, "code": code}
    return (
        f'<style>{css()}{_LIVE_STYLE}</style><div data-nbm="{mark}">{bare}</div><script type="module">{script}</script>'
    )


def page(title: str, body: str) -> str:
    """A whole page around a fragment, light or dark as the reader's system is."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" content="light dark">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)}</title></head>'
        f'<body style="margin:16px">{body}</body></html>'
    )
