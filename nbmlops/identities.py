"""Who acts, how that is known, and in which roles. Keys and roles are events of the ledger, and nothing else.

The first administrator is whoever is granted the role while there is none; from then on only administrators grant,
withdraw, and manage the keys of others.
"""

from __future__ import annotations

import getpass
import os

import sqlalchemy as sa

from nbmlops import refs, signing
from nbmlops.context import Context, ContextSource
from nbmlops.errors import InvalidValue, NotAllowed, NotFound, UsageFault
from nbmlops.records import Event, Identity
from nbmlops.store import Store, ledger
from nbmlops.store.engine import lock_ledger
from nbmlops.store.people import ADMIN, GRANTED, KEY_ADDED, KEY_REVOKED, SUBJECT, WITHDRAWN, People, people

__all__ = ["ADMIN", "Identities", "acting", "administrators"]


def administrators(store: Store) -> list[str]:
    """Who has the role ``admin``; as long as nobody has, everybody may grant roles and change rules."""
    with store.read() as db:
        return people(db).administrators()


def acting(store: Store, context: Context, *, strict: bool = False) -> Identity:
    """Who acts: the owner of the key that signs, else the JupyterHub user, the setting ``user``, the system's user.

    Args:
        store: knows who has which keys and roles.
        context: as the workspace has it.
        strict: a name that anybody can set does not count, as where roles are required.
    """
    with store.read() as db:
        known = people(db)
    key = signing.mine() if known.keys_of(context.user) else None
    if key is not None and known.keys.get(key.key_id, ("",))[0] == context.user:
        return _identity(known, context.user, "key", key.key_id)
    if os.environ.get("JUPYTERHUB_USER") == context.user:
        return _identity(known, context.user, "jupyterhub")
    if context.user == _os_user():
        return _identity(known, context.user, "os")
    return _identity(known, _os_user(), "os") if strict else _identity(known, context.user, "setting")


def _identity(known: People, user: str, how: str, key: str | None = None) -> Identity:
    return Identity(user, how, key, tuple(sorted(known.roles.get(user, ()))))


def _os_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's anonymous uid has no name
        return f"uid-{os.getuid()}"


class Identities:
    """Every verb about persons: their roles and keys."""

    def __init__(self, store: Store, context: ContextSource) -> None:
        self.store = store
        self.context = context

    def current(self) -> Identity:
        """Who acts here."""
        return acting(self.store, self.context())

    def list(self) -> list[Identity]:
        """Everybody who has a role or a key, by name; one line for each key."""
        with self.store.read() as db:
            known = people(db)
        users = sorted({*(u for u, roles in known.roles.items() if roles), *(u for u, _ in known.keys.values())})
        held: list[tuple[str, str | None]] = [(u, key) for u in users for key in (*known.keys_of(u),) or (None,)]
        return [_identity(known, user, "key" if key else "", key) for user, key in held]

    def grant(self, user: str, role: str, reason: str) -> Event:
        """Give a role.

        Raises:
            NotAllowed: only administrators may, and there are some.
            UsageFault: the user has it already.
        """
        return self._roles(GRANTED, user, role, reason)

    def withdraw(self, user: str, role: str, reason: str) -> Event:
        """Take a role away.

        Raises:
            NotAllowed: only administrators may, and there are some.
            NotFound: the user does not have it.
            UsageFault: it is the last administrator.
        """
        return self._roles(WITHDRAWN, user, role, reason)

    def _roles(self, kind: str, user: str, role: str, reason: str) -> Event:
        refs.check_name(role, "role")
        user, reason = _said("a user", user), _said("a reason", reason)
        with self.store.write() as db:
            lock_ledger(db)
            known = people(db)
            self._check_may(db, known, f"roles of {user}")
            has = role in known.roles.get(user, ())
            if kind == GRANTED and has:
                raise UsageFault(f"{user} has the role {role} already", "nbmlops identity list shows all")
            if kind == WITHDRAWN and not has:
                raise NotFound.of(f"role of {user}", role, sorted(known.roles.get(user, ())))
            if kind == WITHDRAWN and role == ADMIN and known.administrators() == [user]:
                raise UsageFault(f"{user} is the last administrator", "grant the role to somebody else first")
            return self._tell(db, kind, user, {"role": role, "reason": reason})

    def new_key(self, path: str | os.PathLike[str] | None = None) -> tuple[str, str]:
        """Make a key in this user's own folder; its id, and the file with the public half, which the store is to know.

        Raises:
            UsageFault: there is one already.
        """
        key = signing.new(path)
        return key.key_id, str(key.path.with_suffix(".pub"))

    def add_key(self, public: str, user: str | None = None, reason: str = "a key of mine") -> Event:
        """Let the store know a public key; from then on what this user does must be signed.

        Args:
            public: the text of a ``.pub`` file.
            user: whose it is; by default who acts.
            reason: why.

        Raises:
            NotAllowed: another's key, and only administrators may add one.
            InvalidValue: it is no public key.
            UsageFault: the store knows it already.
        """
        public, reason = signing.public_key(public), _said("a reason", reason)
        owner, key = user or self.context().user, signing.key_id(public)
        with self.store.write() as db:
            lock_ledger(db)
            known = people(db)
            if owner != self.context().user or known.keys_of(owner):
                self._check_may(db, known, f"keys of {owner}", owner)
            if key in known.keys or key in known.revoked:
                raise UsageFault(f"this store knows key {key} already", "make another: nbmlops identity new-key")
            return self._tell(db, KEY_ADDED, owner, {"key": key, "public": public, "reason": reason})

    def revoke_key(self, key: str, reason: str) -> Event:
        """End a key: what it signed before stays valid, what it signs from now on does not count.

        Raises:
            NotAllowed: another's key, or one's own that is not at hand, and only administrators may revoke it.
            NotFound: no such key is in use.
        """
        reason = _said("a reason", reason)
        with self.store.write() as db:
            lock_ledger(db)
            known = people(db)
            if key not in known.keys:
                raise NotFound.of("key", key, known.keys)
            owner = known.keys[key][0]
            self._check_may(db, known, f"keys of {owner}", owner)
            return self._tell(db, KEY_REVOKED, owner, {"key": key, "reason": reason})

    # -- inside ----------------------------------------------------------------------------------------------------
    def _check_may(self, db: sa.Connection, known: People, what: str, owner: str | None = None) -> None:
        """Administrators may; as long as there are none, everybody; and whoever proves to be the owner."""
        who = acting(self.store, self.context(), strict=bool(known.administrators()))
        if not known.administrators() or ADMIN in who.roles or (who.user == owner and who.key is not None):
            return
        raise NotAllowed(
            f"{who.user} may not change the {what}",
            f"ask an administrator: {', '.join(known.administrators())}",
        )

    def _tell(self, db: sa.Connection, kind: str, user: str, facts: dict[str, str]) -> Event:
        subject, data = f"{SUBJECT}{user}", {"of": user, **facts}
        return ledger.append(db, type=kind, subject=subject, user=self.context().user, data=data)


def _said(what: str, text: object) -> str:
    if not isinstance(text, str) or not text.strip():
        raise InvalidValue(f"{what} is needed", "it stays in the ledger")
    return text.strip()
