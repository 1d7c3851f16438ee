"""Whether the ledger and the state it tells of agree: a chain that is whole may still have lost its end."""

from __future__ import annotations

from nbmlops.errors import Tampered
from nbmlops.store import Store, ledger
from nbmlops.store.told import disagreements


def verify(store: Store) -> int:
    """Check all chains, and that every registered version and every alias is what the events say; our events counted.

    Chains of stores whose content was taken over are checked too, each from its own beginning. What cannot be found
    without another copy: newest events that were removed together with the state they led to.

    Raises:
        Tampered: names the first event, or every disagreement.
    """
    count = ledger.verify(store)
    ledger.verify_merged(store)
    wrong = disagreements(store)
    if wrong:
        raise Tampered(
            f"the ledger does not agree with the store: {'; '.join(wrong)}",
            "restore the store from a backup and find out who wrote to the database",
        )
    return count
