"""How a process that a pipeline starts knows of its secrets, and how it tells of those that it makes itself.

One variable holds references and the name of a private file, never a value. To the file go the references of the
secrets that were made, each with a proof (HMAC-SHA-256 under a key made for this one execution) of which value it had.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
from collections.abc import Iterable
from typing import Any

VARIABLE = "NBMLOPS_SECRETS"


def handed() -> dict[str, Any]:
    """What the pipeline of this process said; empty if there is none."""
    with contextlib.suppress(KeyError, ValueError):
        found = json.loads(os.environ[VARIABLE])
        return found if isinstance(found, dict) else {}
    return {}


def tell(reference: str, value: str) -> None:
    """Let the pipeline of this process know that it has made a secret; nothing without one."""
    to = handed()
    if path := to.get("told"):
        line = json.dumps([reference, proof(to.get("key", ""), value)]) + "\n"
        with contextlib.suppress(OSError), open(path, "a", encoding="utf-8") as file:  # the pipeline may have ended
            file.write(line)


def proof(key: str, value: str) -> str:
    """Tells whether two processes mean the same value, without saying which."""
    return hmac.new(key.encode(), value.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


class Told:
    """The pipeline's end, for one child process. ``folder`` is private and outlives the child."""

    def __init__(self, folder: str, references: Iterable[str], root: str) -> None:
        self._path, self._key = os.path.join(folder, "secrets"), os.urandom(16).hex()
        self._told = {"root": root, "references": list(references), "told": self._path, "key": self._key}

    def to_environment(self) -> dict[str, str]:
        """The variable for the child, which must be able to resolve the references itself."""
        return {VARIABLE: json.dumps(self._told)}

    def made(self) -> dict[str, set[str]]:
        """The references of secrets that the child made, and the proofs of their values."""
        found: dict[str, set[str]] = {}
        with contextlib.suppress(OSError), open(self._path, encoding="utf-8") as file:
            for line in file:
                with contextlib.suppress(ValueError, TypeError):
                    reference, shown = json.loads(line)
                    found.setdefault(str(reference), set()).add(str(shown))
        return found

    def is_same(self, value: str, proofs: set[str]) -> bool:
        """Whether a value here is the only one that the child had."""
        return proofs == {proof(self._key, value)}
