"""What the result of a stage depends on, its fingerprint, and the difference of two such lists in words.

A fingerprint leaves out what only serves to explain: the numbers of cells, the versions of inputs (their content
counts), and inputs that were only found while a stage ran.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from typing import Any

FORMAT = 1
Facts = dict[str, Any]
ABSENT = "absent"


def fingerprint(facts: Facts) -> str:
    """SHA-256 of everything that can change the result."""
    counted = {
        **{key: value for key, value in facts.items() if key != "found"},
        "code": [digest for _, digest in facts["code"]],
        "inputs": {name: digest for name, (_, digest) in facts["inputs"].items()},
    }
    text = json.dumps(counted, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def differences(before: Facts, now: Facts) -> list[str]:
    """What has changed, in words, the likeliest cause first: ``cell 3 changed``, ``dataset:x 4 -> 5`` …"""
    if before.get("format") != now["format"]:
        return ["an earlier nbmlops kept other facts about it"]
    return [
        *_cells(before["code"], now["code"]),
        *_contents("", before["modules"], now["modules"], "is imported now", "is no longer imported"),
        *_values(before["params"], now["params"]),
        *_inputs(before["inputs"], now["inputs"]),
        *_contents("", before["files"], now["files"], "is read now", "is no longer read"),
        *_contents("variable ", before["variables"], now["variables"], "is declared now", "is no longer declared"),
        *_contents("contract of ", before["contracts"], now["contracts"], "is new", "is gone"),
        *_values(before["packages"], now["packages"]),
        *_settings(before, now),
    ]


def _cells(before: list[Any], now: list[Any]) -> list[str]:
    matcher = difflib.SequenceMatcher(a=[d for _, d in before], b=[d for _, d in now], autojunk=False)
    found = []
    for what, low, high, start, end in matcher.get_opcodes():
        if what == "equal":
            continue
        changed = min(high - low, end - start)
        found += [f"cell {now[start + i][0]} changed" for i in range(changed)]
        found += [f"cell {number} is new" for number, _ in now[start + changed : end]]
        found += [f"a cell was removed (it was cell {number})" for number, _ in before[low + changed : high]]
    return found


def _contents(prefix: str, before: Mapping[str, Any], now: Mapping[str, Any], new: str, gone: str) -> list[str]:
    return [
        *(f"{prefix}{name} changed" for name in now if name in before and before[name] != now[name]),
        *(f"{prefix}{name} {new}" for name in now if name not in before),
        *(f"{prefix}{name} {gone}" for name in before if name not in now),
    ]


def _values(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        *(f"{n} {_short(before[n])} -> {_short(now[n])}" for n in now if n in before and before[n] != now[n]),
        *(f"{n} is new ({_short(now[n])})" for n in now if n not in before),
        *(f"{n} is gone" for n in before if n not in now),
    ]


def _inputs(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    found = []
    for name, (version, digest) in now.items():
        if name not in before:
            found.append(f"{name} is read now")
        elif before[name][1] != digest:
            found.append(f"{name} {before[name][0] or 'none'} -> {version or 'none'}")
    return found + [f"{name} is no longer read" for name in before if name not in now]


def _settings(before: Facts, now: Facts) -> list[str]:
    found = [f"notebook {before['notebook']} -> {now['notebook']}"] if before["notebook"] != now["notebook"] else []
    old, new = before["settings"], now["settings"]
    return found + [f"{n} {_short(old.get(n))} -> {_short(new[n])}" for n in new if old.get(n) != new[n]]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 40 else text[:39] + "…"
