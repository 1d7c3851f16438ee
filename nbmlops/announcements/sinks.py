"""Where events are announced: ``[[announce]]`` in ``nbmlops.toml``, or ``announce`` below ``[tool.nbmlops]``.

[[announce]]
to = "file:events.jsonl"          # a file below the project's folder, one CloudEvent a line
types = ["model.*", "policy.set"] # all by default

[[announce]]
to = "https://hooks.example.org/models"
secret = "env:HOOK_SECRET"        # signs every request; it is read from this variable, and kept nowhere
after = 120                       # only events after this one
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import hmac
import json
import os
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbmlops import clock, settings
from nbmlops.errors import InvalidValue
from nbmlops.lines import append

TIMEOUT = 10.0  # seconds of one request
_KEYS = ("to", "types", "secret", "after")
_PASSING = frozenset({408, 425, 429})  # besides 5xx, the answers after which another attempt may do


class Refused(Exception):
    """The receiver does not want this event: another attempt is of no use."""


@dataclass(frozen=True)
class Sink:
    """One receiver. ``secret`` is the name of an environment variable."""

    to: str
    types: tuple[str, ...] = ("*",)
    secret: str = ""
    after: int = 0
    root: Path = field(default_factory=Path)

    @property
    def name(self) -> str:
        """What the store calls it: where it is, without what may be secret in a URL."""
        parts = urllib.parse.urlsplit(self.to)
        if parts.scheme == "file":
            return self.to
        where = f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}"
        return where if not parts.query else f"{where}?{hashlib.sha256(parts.query.encode()).hexdigest()[:8]}"

    def wants(self, kind: str) -> bool:
        """Whether it takes events of this type."""
        return any(fnmatch.fnmatchcase(kind, pattern) for pattern in self.types)

    def send(self, event: dict[str, Any]) -> None:
        """Hand one CloudEvent over.

        Raises:
            Refused: the receiver answers that it will never take it.
            OSError, http.client.HTTPException: another attempt may do.
        """
        if self.to.startswith("file:"):
            append(self.root / self.to.removeprefix("file:"), event)
        else:
            self._post(event)

    def _post(self, event: dict[str, Any]) -> None:
        """As Standard Webhooks have it: id, time, and an HMAC over both and the body."""
        body = json.dumps(event, ensure_ascii=False).encode()
        sent = str(int(clock.now()))
        headers = {"Content-Type": "application/cloudevents+json", "webhook-id": event["id"], "webhook-timestamp": sent}
        if self.secret:
            headers["webhook-signature"] = f"v1,{signature(self._secret(), event['id'], sent, body)}"
        request = urllib.request.Request(self.to, body, headers)  # noqa: S310  (http or https, see _fault)
        opener = urllib.request.build_opener(_Straight)
        try:
            with opener.open(request, timeout=TIMEOUT) as answer:
                answer.read(1 << 16)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < 500 and error.code not in _PASSING:
                raise Refused(f"it answers {error.code}") from error
            raise OSError(f"it answers {error.code}") from error

    def _secret(self) -> str:
        value = os.environ.get(self.secret)
        if not value:
            raise OSError(f"the variable {self.secret}, which holds its secret, is not set")
        return value


class _Straight(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: what is signed for one receiver is for no other."""

    def redirect_request(self, *_given: Any) -> None:
        return None


def signature(secret: str, event_id: str, sent: str, body: bytes) -> str:
    """The HMAC-SHA256 of Standard Webhooks, as base64; ``whsec_…`` is a secret in base64."""
    key = base64.b64decode(secret.removeprefix("whsec_")) if secret.startswith("whsec_") else secret.encode()
    return base64.b64encode(hmac.new(key, f"{event_id}.{sent}.".encode() + body, hashlib.sha256).digest()).decode()


def read(root: Path | None = None) -> list[Sink]:
    """The receivers that a project names.

    Raises:
        InvalidValue: they are not written as they should be; every fault is listed.
    """
    folder = root or settings.project_root()
    given, where = settings.tables(folder, "announce")
    if not given:
        return []
    if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
        raise InvalidValue(f"{where}: announce is a list of tables", "write [[announce]] above each of them")
    faults = [f"announce {number}: {fault}" for number, one in enumerate(given, 1) for fault in _faults(one)]
    if faults:
        raise InvalidValue.of(where, faults, "docs/ledger.md shows what may be written there")
    return [
        Sink(one["to"], tuple(one.get("types", ("*",))), one.get("secret", "")[4:], one.get("after", 0), folder)
        for one in given
    ]


def _faults(one: dict[str, Any]) -> list[str]:
    faults = [f"{key} is not known (there are {', '.join(_KEYS)})" for key in one if key not in _KEYS]
    to, types = one.get("to"), one.get("types", [])
    if not isinstance(to, str) or not to.startswith(("file:", "https://", "http://")):
        faults.append(f"to: file:NAME or a URL is needed, not {to!r}")
    elif to.startswith("file:") and not _below(to.removeprefix("file:")):
        faults.append(f"to: a file below the project's folder is needed, not {to!r}")
    elif to.startswith("http://") and urllib.parse.urlsplit(to).hostname not in {"localhost", "127.0.0.1", "::1"}:
        faults.append("to: https is needed, but for this machine itself")
    if not isinstance(types, list) or not all(isinstance(t, str) for t in types):
        faults.append(f"types: a list of texts such as model.* is needed, not {types!r}")
    if not str(one.get("secret", "env:X")).startswith("env:"):
        faults.append("secret: env:NAME is needed, the name of a variable; a secret in a file is none")
    if isinstance(one.get("after", 0), bool) or not isinstance(one.get("after", 0), int):
        faults.append(f"after: the number of an event is needed, not {one['after']!r}")
    return faults


def _below(name: str) -> bool:
    path = Path(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts
