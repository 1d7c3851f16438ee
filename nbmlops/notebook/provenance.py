"""Where an installed distribution came from, and what its files are, as its installer wrote it down.

``direct_url.json`` (PEP 610) is there when it did not come from an index by name; ``RECORD`` has the digest of each
file. No installer writes down the hash of the archive that it took from an index.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import urllib.parse
from typing import Any

# Written by the installer, or made of where it is: all else of a wheel is the same wherever it is installed.
_OF_THE_INSTALLER = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json"})
_COMMIT = re.compile(r"[0-9a-fA-F]{7,64}")
_HASH = re.compile(r"[0-9a-f]{32,128}")


def record_digest(text: str) -> str:
    """The digest of what a wheel brought, from its RECORD: equal where the same files were installed; "" for none.

    Scripts and compiled files are left out, for they hold the path of the interpreter. Half of a SHA-256.
    """
    found = []
    for row in csv.reader(text.splitlines()):
        path, digest = row[0] if row else "", row[1] if len(row) > 1 else ""
        folder, _, name = path.rpartition("/")
        own = folder.endswith(".dist-info") and name in _OF_THE_INSTALLER
        if digest and not own and not path.startswith(("..", "/")) and not path.endswith(".pyc"):
            found.append(f"{path} {digest}")
    return hashlib.sha256("\n".join(sorted(found)).encode("utf-8", "replace")).hexdigest()[:32] if found else ""


def source(text: str, installer: str = "") -> dict[str, Any]:
    """What ``direct_url.json`` says, checked: ``vcs``, ``url`` and ``commit``; ``hashes``; or ``folder``, ``editable``.

    Empty for a distribution from an index. Conda notes the folder in which it built a package, which says nothing.
    """
    try:
        facts = json.loads(text)
        url = str(facts["url"])
    except (ValueError, TypeError, KeyError):
        return {}
    if isinstance(vcs := facts.get("vcs_info"), dict) and _COMMIT.fullmatch(str(vcs.get("commit_id", ""))):
        held = {"vcs": str(vcs.get("vcs", "git")), "url": without_secret(url), "commit": str(vcs["commit_id"])}
        return held | ({"subdirectory": str(facts["subdirectory"])} if facts.get("subdirectory") else {})
    if isinstance(facts.get("dir_info"), dict):
        if installer.strip().lower() == "conda":
            return {}
        path = urllib.parse.unquote(urllib.parse.urlsplit(url).path)
        return {"folder": os.path.normpath(path), "editable": bool(facts["dir_info"].get("editable"))}
    if isinstance(archive := facts.get("archive_info"), dict):
        return {"hashes": _hashes(archive)}
    return {}


def without_secret(url: str) -> str:
    """An address without what may be a password or a token; the user of SSH stays, for it is part of the place."""
    parts = urllib.parse.urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    keep = user.partition(":")[0] if at and parts.scheme.endswith("ssh") else ""
    return urllib.parse.urlunsplit((parts.scheme, f"{keep}@{host}" if keep else host, parts.path, "", ""))


def _hashes(archive: dict[str, Any]) -> dict[str, str]:
    """The hashes of the archive by their algorithm; the older key ``hash`` is ``sha256=…``."""
    given = archive.get("hashes")
    if not isinstance(given, dict):
        name, _, value = str(archive.get("hash", "")).partition("=")
        given = {name: value} if value else {}
    return {str(name): str(value) for name, value in given.items() if _HASH.fullmatch(str(value))}
