"""``nbmlops serve``: one model over HTTP."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import sys
from typing import TYPE_CHECKING

from nbmlops.errors import StoreFault, UsageFault

if TYPE_CHECKING:
    from nbmlops.server.app import Desks

TOKEN = "NBMLOPS_TOKEN"  # noqa: S105  (the name of the variable)
_BACKLOG = 2048  # as uvicorn's own


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

    One line on stderr says what is served, and where.

    Args:
        token: the bearer token clients must send; by default ``NBMLOPS_TOKEN``. Needed unless ``host`` is loopback.

    Raises:
        UsageFault: another host than loopback without a token, or the port cannot be had.
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
    config = uvicorn.Config(app, host=host, port=port, log_level="warning", timeout_graceful_shutdown=10)
    server = uvicorn.Server(config)
    with listening(host, port) as door:
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{door.getsockname()[1]}"
        served = app.state.serving.current.version.ref
        print(f"serving {served} at {address} (what it takes: {address}/docs); Ctrl-C stops it", file=sys.stderr)
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[door])
    if not server.started:
        raise StoreFault(f"the server on {address} did not start", "its log above says why")


def listening(host: str, port: int) -> socket.socket:
    """A socket that takes connections there; port 0 is any free one.

    Raises:
        UsageFault: the port is in use, forbidden, or the host is none of this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        door = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _no_door(host, port, error) from error
    try:
        if os.name == "posix":  # elsewhere this lets two servers share one port
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        door.bind(address)
        door.listen(_BACKLOG)
    except OSError as error:
        door.close()
        raise _no_door(host, port, error) from error
    return door


def _no_door(host: str, port: int, error: OSError) -> UsageFault:
    if error.errno == errno.EADDRINUSE:
        return UsageFault(
            f"port {port} of {host} is in use", "choose another with --port (0 is any free one), or stop what uses it"
        )
    said = f"cannot listen on port {port} of {host}: {error.strerror or error}"
    return UsageFault(said, "choose another --port or --host; ports below 1024 are often kept for the system")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach a server bound to ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: who it stands for is decided elsewhere
        return False
