"""``nbmlops serve``: one model over HTTP."""

from __future__ import annotations

import ipaddress
import os
from typing import TYPE_CHECKING

from nbmlops.errors import UsageFault

if TYPE_CHECKING:
    from nbmlops.server.app import Desks

TOKEN = "NBMLOPS_TOKEN"  # noqa: S105  (the name of the variable)


def serve(
    desks: Desks,
    ref: str,
    host: str = "127.0.0.1",
    port: int = 8080,
    token: str | None = None,
    environment: str | None = None,
    *,
    trusted: tuple[str, ...] = (),
) -> None:
    """Serve a model until the process is interrupted; what waits to be recorded is written before it ends.

    Args:
        token: the bearer token clients must send; by default ``NBMLOPS_TOKEN``. Needed unless ``host`` is loopback.

    Raises:
        UsageFault: another host than loopback without a token.
        MissingLibrary: the libraries of ``nbmlops[serve]`` are not installed.
        NotFound: there is no such model.
    """
    from nbmlops import lazy

    token = token or os.environ.get(TOKEN) or None
    if token is None and not is_loopback(host):
        raise UsageFault(
            f"serving on {host} lets others in, and there is no token", f"set {TOKEN}, or serve on 127.0.0.1"
        )
    for library in ("fastapi", "orjson", "prometheus_client"):
        lazy.need(library, "serving", "serve")
    uvicorn = lazy.need("uvicorn", "serving", "serve")
    from nbmlops.server.app import create_app

    app = create_app(desks, ref, environment, token=token, trusted=trusted)
    uvicorn.run(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=10)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: who it stands for is decided elsewhere
        return False
