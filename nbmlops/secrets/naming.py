"""Names and texts that tell of a secret, where nobody has said that there is one."""

from __future__ import annotations

import re

_NAME = re.compile(r"passw|secret|token(?!i[sz])|api_?key|credential", re.IGNORECASE)
_MASKED = re.compile(r"\[secret ((?:env|file):[^\]\s]+)\]|\(hidden\)")
_IN_ADDRESS = re.compile(r"[a-z][\w+.-]*://[^/\s:@]*:[^/\s@]+@", re.IGNORECASE)


def sounds_secret(name: str) -> bool:
    """Whether a variable of this name is likely to hold a password, a key or a token."""
    return _NAME.search(name) is not None


def is_telling(name: str, value: str) -> bool:
    """Whether a text assigned to a name must not be written anywhere: by its name, as an address, or masked already."""
    sounds = sounds_secret(name) and len(value) > 2
    return sounds or bool(_IN_ADDRESS.search(value) or _MASKED.search(value))


def reference_in(value: str) -> str:
    """The reference of a masked secret; empty where there is none."""
    match = _MASKED.search(value)
    return (match[1] or "") if match else ""
