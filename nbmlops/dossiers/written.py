"""What persons write about a model: ``cards/NAME.toml`` beside the project, one text for each key."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path

from nbmlops.errors import InvalidValue

FOLDER = "cards"
_LARGEST = 1 << 20  # bytes
# What a person knows and no record does.
KEYS = {
    "purpose": "what the model is for, and who uses it",
    "owner": "who answers for it, and how to reach them",
    "out_of_scope": "what it must not be used for",
    "limitations": "where it is known to fail",
    "ethics": "whom it may harm, and what is done about it",
    "oversight": "how a person watches it, and can stop it",
    "data_collection": "how the data were collected, selected, labelled and cleaned",
    "design": "why it is built this way: choices, assumptions, trade-offs",
    "metrics": "why these metrics are the right ones for this purpose",
    "risks": "the risk management: what can go wrong, how likely, what is done",
    "changes": "which changes are planned, and what happens then",
    "standards": "the standards that were applied",
    "security": "what protects it against manipulation",
    "interaction": "which hardware and software it works with",
    "instructions": "how to use and install it",
    "declaration": "the declaration of conformity",
    "after_market": "how it is watched after it was put to use",
    "licence": "the licence that it is given under",
}


def read(root: Path, name: str) -> Mapping[str, str]:
    """The texts for a model; empty without a file.

    Raises:
        InvalidValue: the file is not valid TOML, or holds something else than texts; every fault is listed.
    """
    path = root / FOLDER / f"{name}.toml"
    if "/" in name or "\\" in name or name.startswith(".") or not path.is_file():
        return {}
    if path.stat().st_size > _LARGEST:
        raise InvalidValue(f"{path} has more than {_LARGEST:,} bytes", "it holds a few texts only")
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidValue(f"{path} is not valid TOML: {error}", "mend the file") from error
    faults = [f"{key} is not known" for key in found if key not in KEYS]
    faults += [f"{key}: a text is needed" for key, value in found.items() if key in KEYS and not isinstance(value, str)]
    if faults:
        raise InvalidValue.of(str(path), faults, f"there are {', '.join(KEYS)}")
    return {key: value.strip() for key, value in found.items() if value.strip()}
