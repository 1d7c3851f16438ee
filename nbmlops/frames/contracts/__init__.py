"""Contracts: what a table must be like, as YAML or as a pandera schema, and every violation at once.

``load_contract`` reads one, ``infer_contract`` drafts one from data, ``check`` compares data with it and ``refuse``
raises if the answer is no.
"""

from __future__ import annotations

from nbmlops.frames.contracts.checking import check, refuse
from nbmlops.frames.contracts.contract import ColumnRule, Contract
from nbmlops.frames.contracts.inference import infer_contract
from nbmlops.frames.contracts.reading import load_contract

__all__ = ["ColumnRule", "Contract", "check", "infer_contract", "load_contract", "refuse"]
