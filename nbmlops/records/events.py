"""Events of the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from nbmlops.records.record import Record


@dataclass(frozen=True)
class Event(Record):
    """One link of a ledger's hash chain; of our own, or of the one of a ``store`` whose content was taken over."""

    seq: int
    id: str
    type: str
    subject: str
    user: str
    at: float
    data: dict[str, Any]
    previous: str
    hash: str
    store: str | None = None  # the id of the store that it was written in, if another
    signer: str | None = None  # the id of the key that signed it
    signature: str | None = None

    @property
    def ref(self) -> str:
        return f"event:{self.seq}" if self.store is None else f"event:{self.seq} of store {self.store}"

    def to_cloudevent(self, store_id: str) -> dict[str, Any]:
        """As CloudEvents 1.0 in its JSON format; ``store_id`` is that of the store it was written in.

        The chain's own attributes are extensions: ``seq`` (as text, which may be larger than their integers), ``hash``,
        ``previous``, and where it was signed ``signer`` and ``signature``.
        """
        told = {
            "specversion": "1.0",
            "id": self.id,
            "source": f"urn:nbmlops:store:{self.store or store_id}",
            "type": f"org.nbmlops.{self.type}",
            "subject": self.subject,
            "time": datetime.fromtimestamp(self.at, UTC).isoformat(),
            "datacontenttype": "application/json",
            "data": {**self.data, "user": self.user},
            "seq": str(self.seq),
            "hash": self.hash,
            "previous": self.previous,
        }
        return told | ({"signer": self.signer, "signature": self.signature} if self.signer else {})
