"""What all our widgets share: they show themselves live, and leave a static twin in the notebook."""

from __future__ import annotations

import uuid
from typing import Any

import anywidget
import traitlets


class View(anywidget.AnyWidget):
    """A widget with a static twin.

    Shown, it gives two outputs: the live view, and the twin as HTML. The live view hides the twin as soon as it is
    drawn. JupyterLab prefers a live view to HTML within one output even if its kernel is gone, and then shows only an
    error; with two outputs a notebook opened again shows the twin.
    """

    token = traitlets.Unicode().tag(sync=True)

    def __init__(self, **more: Any) -> None:
        super().__init__(token=uuid.uuid4().hex[:12], **more)

    def static_html(self) -> str:
        """The view as a fragment that needs neither kernel nor network."""
        raise NotImplementedError

    def text(self) -> str:
        """The view as plain text."""
        raise NotImplementedError

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        found = super()._repr_mimebundle_(**kwargs)
        data, metadata = found if isinstance(found, tuple) else (found or {}, {})
        return data | {"text/html": self.static_html(), "text/plain": self.text()}, metadata

    def _ipython_display_(self) -> None:
        from IPython.display import display

        data, _ = self._repr_mimebundle_()
        still = {kind: data.pop(kind) for kind in ("text/html", "text/plain")}
        if data:  # a front end that shows widgets
            display(data | {"text/plain": ""}, raw=True)  # type: ignore[no-untyped-call]
        display(still, raw=True)  # type: ignore[no-untyped-call]
