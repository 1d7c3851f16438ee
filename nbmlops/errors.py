"""Every error nbmlops raises on purpose.

    NbmlopsError
    ├── UsageFault        what was asked makes no sense (exit 2, HTTP 400)
    │   ├── InvalidValue  one or more values are wrong; all faults are listed at once
    │   ├── MissingLibrary
    │   └── SecretInData  binary data hold the value of a secret, and cannot be masked
    ├── NotFound          the thing named does not exist (exit 3, HTTP 404)
    ├── StoreFault        disk, database or blob trouble (exit 4, HTTP 503)
    │   ├── StoreReadOnly
    │   ├── StoreTooNew
    │   └── BlobCorrupt
    ├── StageSkipped      a notebook ended itself on purpose (exit 0)
    └── CheckFailed       everything worked, and the answer is no (exit 1, HTTP 409)
        ├── Blocked       a gate refused a promotion
        ├── ContractViolated  data are not what their contract asks for
        ├── StageFailed   a notebook stage ended with an error
        ├── Untrusted     a file holds types the loader does not trust
        └── Tampered      the ledger or a stored object is not what was written

Each carries a one-line ``message`` (what happened) and a one-line ``hint`` (what to do); several faults of one request
are one line each where they are shown. The hint travels as an
exception note, so plain Python, IPython and papermill all print it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Any


class NbmlopsError(Exception):
    """Base of all deliberate errors: ``message``, ``hint``, ``exit_code`` and ``http_status``."""

    exit_code = 1
    http_status = 500

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint:
            self.add_note(f"-> {hint}")

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.hint, self._extra()))

    def _extra(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in {"message", "hint"} and not k.startswith("_")}

    def lines(self) -> tuple[str, str]:
        """The two lines every door shows: what happened, and what to do."""
        return f"{type(self).__name__}: {self.message}", f"  -> {self.hint}" if self.hint else ""

    def to_dict(self) -> dict[str, str]:
        return {"error": type(self).__name__, "message": self.message, "hint": self.hint}


def _rebuild(cls: type[NbmlopsError], message: str, hint: str, extra: dict[str, Any]) -> NbmlopsError:
    error = cls.__new__(cls)
    NbmlopsError.__init__(error, message, hint)
    error.__dict__.update(extra)
    return error


class UsageFault(NbmlopsError):
    """The request itself makes no sense."""

    exit_code = 2
    http_status = 400


class InvalidValue(UsageFault):
    """One or more values are wrong. ``faults`` lists every one of them, not only the first; ``what`` has them."""

    def __init__(self, message: str, hint: str = "", faults: Sequence[str] = (), what: str = "") -> None:
        super().__init__(message, hint)
        self.faults = tuple(faults)
        self.what = what

    @classmethod
    def of(cls, what: str, faults: Sequence[str], hint: str) -> InvalidValue:
        """All faults in one message: ``parameters of train.ipynb: 2 faults: …; …``."""
        count = f"{len(faults)} faults: " if len(faults) > 1 else ""
        return cls(f"{what}: {count}{'; '.join(faults)}", hint, faults, what)

    def lines(self) -> tuple[str, str]:
        """As for every error; several faults stand on lines of their own within the first text."""
        head, hint = super().lines()
        if self.what and len(self.faults) > 1:
            faults = "".join(f"\n  - {' '.join(fault.split())}" for fault in self.faults)
            head = f"{type(self).__name__}: {self.what}: {len(self.faults)} faults{faults}"
        return head, hint


class MissingLibrary(UsageFault):
    """An optional library is not installed."""

    @classmethod
    def of(cls, library: str, purpose: str, extra: str) -> MissingLibrary:
        return cls(
            f"{purpose} needs the library {library}, which is not installed",
            f"pip install 'nbmlops[{extra}]'",
        )


class SecretInData(UsageFault):
    """Data that cannot be masked hold the value of a secret; nothing of them was kept. ``reference`` names it."""

    def __init__(self, message: str, hint: str = "", reference: str = "") -> None:
        super().__init__(message, hint)
        self.reference = reference

    @classmethod
    def of(cls, what: str, reference: str) -> SecretInData:
        """Which secret is in what; never its value."""
        return cls(
            f"{what} holds the value of the secret {reference}, and cannot be masked",
            "leave the value out of what is kept: drop that column, field or file",
            reference,
        )


class NotFound(NbmlopsError):
    """The thing named does not exist."""

    exit_code = 3
    http_status = 404

    @classmethod
    def of(cls, kind: str, asked: str, available: Iterable[str] = (), hint: str = "") -> NotFound:
        """Names what was asked, what comes close, and what exists."""
        names = list(available)
        close = difflib.get_close_matches(asked, names, n=3)
        if close:
            hint = hint or f"did you mean {' or '.join(repr(c) for c in close)}?"
        elif names:
            shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
            hint = hint or f"there are: {shown}"
        return cls(f"no {kind} {asked!r}", hint or f"there is no {kind} in this store yet")


class StoreFault(NbmlopsError):
    """Database, disk or blob trouble; nothing half-written is left behind."""

    exit_code = 4
    http_status = 503


class StoreReadOnly(StoreFault):
    """The store cannot be written."""


class StoreTooNew(StoreFault):
    """The store was written by a newer nbmlops."""


class BlobCorrupt(StoreFault):
    """A stored object does not have the content its name promises."""


class StageSkipped(NbmlopsError):
    """A notebook ends itself on purpose: its stage is SKIPPED, which is no failure. Raised by :func:`nbmlops.skip`."""

    exit_code = 0
    http_status = 200

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: one line, and no traceback."""
        return [f"skipped: {self.message}"]


class CheckFailed(NbmlopsError):
    """Everything worked, and the answer is no."""

    exit_code = 1
    http_status = 409


class Blocked(CheckFailed):
    """A gate refused. ``findings`` holds every finding, also those that passed."""

    def __init__(self, message: str, hint: str = "", findings: Sequence[Any] = ()) -> None:
        super().__init__(message, hint)
        self.findings = tuple(findings)


class NotAllowed(CheckFailed):
    """Who asks may not do this: a role is missing, or another person is needed."""

    http_status = 403


class StageFailed(CheckFailed):
    """A stage ended with an error; its executed notebook was kept before this was raised."""

    def __init__(self, message: str, hint: str = "", run_id: str | None = None, notebook: str | None = None) -> None:
        super().__init__(message, hint)
        self.run_id = run_id
        self.notebook = notebook


class Untrusted(CheckFailed):
    """A file holds types that the loader does not trust. ``types`` names them."""

    def __init__(self, message: str, hint: str = "", types: Sequence[str] = ()) -> None:
        super().__init__(message, hint)
        self.types = tuple(types)


class Tampered(CheckFailed):
    """The ledger or a stored object is not what was written."""


class ContractViolated(CheckFailed):
    """Data are not what their contract asks for, and nothing was kept. ``violations`` has one line for each."""

    def __init__(self, message: str, hint: str = "", violations: Sequence[str] = (), what: str = "") -> None:
        super().__init__(message, hint)
        self.violations = tuple(violations)
        self.what = what

    @classmethod
    def of(cls, what: str, violations: Sequence[str], hint: str) -> ContractViolated:
        """All violations in one message: ``flights.yaml on dataset:flights: 2 violations: …; …``."""
        count = f"{len(violations)} violation{'s' if len(violations) != 1 else ''}"
        return cls(f"{what}: {count}: {'; '.join(violations)}", hint, violations, what)

    def lines(self) -> tuple[str, str]:
        """As for every error; several violations stand on lines of their own within the first text."""
        head, hint = super().lines()
        if len(self.violations) > 1:
            said = "".join(f"\n  - {' '.join(v.split())}" for v in self.violations)
            head = f"{type(self).__name__}: {self.what}: {len(self.violations)} violations{said}"
        return head, hint
