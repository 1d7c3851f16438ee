"""Notebooks as the JSON that their files hold."""

from __future__ import annotations

from typing import Any


def cell(source: str, *tags: str, kind: str = "code") -> dict[str, Any]:
    metadata = {"tags": list(tags)} if tags else {}
    more = {"outputs": [], "execution_count": None} if kind == "code" else {}
    return {"cell_type": kind, "source": source.splitlines(keepends=True), "metadata": metadata, **more}


def notebook(*cells: str | dict[str, Any]) -> dict[str, Any]:
    """A notebook of these cells; a text is a code cell."""
    made = [one if isinstance(one, dict) else cell(one) for one in cells]
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": made}
