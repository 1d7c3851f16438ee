"""A notebook without the values of secrets: sources, outputs and metadata."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from nbmlops import secrets
from nbmlops.notebook.job import Outcome
from nbmlops.secrets.told import Told


def scrub_notebook(nb: Any) -> Any:
    """Mask every known secret in a notebook (a node or plain JSON), in place, and return it.

    What a cell printed piece by piece is read as one text, each stream by itself and all of them in their order.
    """
    secrets.hear()
    if secrets.is_active():
        for cell in nb.get("cells", ()):
            streams = [o for o in cell.get("outputs", ()) if o.get("output_type") == "stream"]
            for name in dict.fromkeys(o.get("name") for o in streams):
                _scrub_streams([o for o in streams if o.get("name") == name])
            _scrub_streams(streams)
        _scrub(nb)
    return nb


def scrub_outcome(outcome: Outcome, child: Told) -> Outcome:
    """What may be kept of an execution. Of a notebook that set a secret's variable or file itself, no output may."""
    nb, error = outcome.nb, outcome.error
    if found := secrets.strange(child):
        nb = without_outputs(nb, found)
        error = error and {**error, "message": "left out, with all outputs", "traceback": []}
    return replace(outcome, nb=scrub_notebook(nb), error=secrets.scrub(error))


def without_outputs(nb: Any, references: list[str]) -> Any:
    """The notebook with a note in place of every output: what its own secrets are is not known here."""
    nb["metadata"].pop("widgets", None)
    for cell in nb.get("cells", ()):
        if cell.get("outputs"):
            note = f"left out: {', '.join(references)} had another value in the notebook than outside, or none there\n"
            kept = [o for o in cell["outputs"] if o.get("output_type") == "error"][:1]
            for error in kept:
                error.update(evalue="left out", traceback=[])
            cell["outputs"] = [type(nb)(output_type="stream", name="stderr", text=note), *kept]
    return nb


def _scrub_streams(streams: list[Any]) -> None:
    texts = [o["text"] if isinstance(o["text"], str) else "".join(o["text"]) for o in streams]
    for output, text in zip(streams, secrets.scrub_pieces(texts), strict=True):
        output["text"] = text


def _scrub(node: Any) -> None:
    """Texts in dictionaries and lists; a list of texts is one text, as in a notebook's file."""
    if isinstance(node, dict):
        for name, value in list(node.items()):
            if (masked := secrets.scrub_text(name)) != name:
                node[masked] = node.pop(name)
            if isinstance(value, dict | list):
                _scrub(value)
            else:
                node[masked] = secrets.scrub(value)
    elif node and all(isinstance(item, str) for item in node):
        node[:] = secrets.scrub_pieces(node)
    else:
        for index, item in enumerate(node):
            if isinstance(item, dict | list):
                _scrub(item)
            else:
                node[index] = secrets.scrub(item)
