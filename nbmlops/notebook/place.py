"""Where this process stands: which notebook runs here, and in which kernel. Nothing heavy is imported for it."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from nbmlops import settings


def shell() -> Any:
    """The IPython shell of this process, or None; nothing is imported for it."""
    module = sys.modules.get("IPython")
    return module.get_ipython() if module is not None and hasattr(module, "get_ipython") else None


def notebook_path(injected: str | None = None) -> str | None:
    """The notebook that runs here, as far as the process itself can know.

    In order: the setting ``notebook`` (``NBMLOPS_NOTEBOOK``), what a pipeline injected, VS Code's
    ``__vsc_ipynb_file__``, ``__session__`` and ``JPY_SESSION_NAME`` of Jupyter Server.
    """
    if given := settings.value("notebook"):
        return os.path.abspath(given)
    if injected:
        return injected
    here = shell()
    if here is None:
        return None
    for name in ("__vsc_ipynb_file__", "__session__"):
        if (found := here.user_ns.get(name)) and str(found).endswith(".ipynb"):
            return str(found)
    session = os.environ.get("JPY_SESSION_NAME", "")
    return session if session.endswith(".ipynb") else None


def notebook_now(injected: str | None = None) -> str | None:
    """As :func:`notebook_path`; where that file is gone, for it was renamed meanwhile, the servers are asked."""
    path = notebook_path(injected)
    if (path is None or not os.path.exists(path)) and (kernel := kernel_id()):
        return ask_servers(kernel) or path
    return path


def ask_servers(kernel: str, timeout: float = 1.0) -> str | None:
    """The notebook's path according to the running Jupyter servers' sessions, or None. Only loopback is asked."""
    import urllib.request  # 20 ms that loading the extension need not pay

    from jupyter_core.paths import jupyter_runtime_dir

    for path in Path(jupyter_runtime_dir()).glob("jpserver-*.json"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            server = json.loads(path.read_text())
            if not str(server["url"]).startswith(("http://127.0.0.1", "http://localhost")):
                continue
            request = urllib.request.Request(  # noqa: S310  (http to loopback, checked above)
                f"{server['url']}api/sessions", headers={"Authorization": f"token {server.get('token', '')}"}
            )
            with urllib.request.urlopen(request, timeout=timeout) as answer:  # noqa: S310
                for session in json.load(answer):
                    if session["kernel"]["id"] == kernel:
                        return os.path.join(server.get("root_dir", ""), session["path"])
    return None


def kernel_id() -> str | None:
    """The id of the Jupyter kernel this process is, or None."""
    if "ipykernel" not in sys.modules or shell() is None:
        return None
    kernelapp = sys.modules.get("ipykernel.kernelapp")
    app = getattr(kernelapp, "IPKernelApp", None)
    if app is None or not app.initialized():
        return None
    name = Path(app.instance().connection_file).stem
    return name.removeprefix("kernel-")
