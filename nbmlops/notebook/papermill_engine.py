"""papermill's own command and function with this engine: ``papermill --engine nbmlops in.ipynb out.ipynb -p a 1``.

Papermill loads this by its entry point while papermill itself is being imported, in every program that does so: an
import of papermill here, or of our engine, would be a circle and break papermill for the whole environment.
"""

from __future__ import annotations

from typing import Any


class NbmlopsEngine:
    """What papermill asks of an engine: to execute a notebook, and to say its kernel and language."""

    @classmethod
    def execute_notebook(cls, nb: Any, kernel_name: str, **asked: Any) -> Any:
        """The executed notebook; see :func:`nbmlops.notebook.engine.under_papermill.execute_notebook`."""
        from nbmlops.notebook.engine import under_papermill

        return under_papermill.execute_notebook(nb, kernel_name, **asked)

    @classmethod
    def nb_kernel_name(cls, nb: Any, name: str | None = None) -> str:
        """The name given, else the notebook's, as papermill finds it."""
        from papermill.utils import nb_kernel_name

        return nb_kernel_name(nb, name)

    @classmethod
    def nb_language(cls, nb: Any, language: str | None = None) -> str:
        """The language given, else the notebook's, as papermill finds it."""
        from papermill.utils import nb_language

        return nb_language(nb, language)
