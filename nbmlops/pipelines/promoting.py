"""The promotion that a pipeline file asks for, when all stages are done."""

from __future__ import annotations

from typing import Any

from nbmlops.errors import Blocked
from nbmlops.pipelines.desks import Desks
from nbmlops.pipelines.spec import Promote
from nbmlops.records import plain


def promote(desks: Desks, asked: Promote, version: int, reason: str) -> tuple[str, dict[str, Any] | None]:
    """The flow's status, FINISHED or BLOCKED, and what was decided: blocked is an answer, not an error.

    A version that stands in the environment already, because an earlier flow made and promoted it, is left there.
    """
    ref = f"model:{asked.model}@{version}"
    if asked.to in desks.models.get(ref).aliases:
        return "FINISHED", None
    try:
        promotion = desks.promotion.promote(ref, asked.to, reason, rules=asked.rules)
    except Blocked as error:
        decision = {
            "model": asked.model,
            "version": version,
            "environment": asked.to,
            "status": "blocked",
            "reason": reason,
        }
        return "BLOCKED", {**decision, "message": error.message, "findings": plain(error.findings)}
    return "FINISHED", promotion.to_dict()
