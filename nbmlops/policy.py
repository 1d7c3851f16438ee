"""The rules of environments: a project writes them into ``nbmlops.toml``, or ``[tool.nbmlops]`` in pyproject.toml.

[environments.staging]
service = true                    # tested as a service in a process of its own

[environments.production]         # comes after the one above it
approvers = 2
roles = ["qa", "owner"]
four_eyes = true
expires = "14d"
canary = 0.05

[models."flight-delay".staging]   # further rules for one model
rules = ["metrics.roc_auc >= 0.65"]
gate = "gates/bias.ipynb"
compare = "roc_auc"               # not worse than the one in production, on the same rows
margin = 0.005
golden = "golden.csv"
expectations = [{ invariant = "carrier", to = ["AA", "B6"] }, { increases = "prediction", when = "distance", by = 100 }]
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from nbmlops import clock, identities, refs, rules, settings
from nbmlops.errors import InvalidValue, NotAllowed, NotFound, UsageFault
from nbmlops.identities import ADMIN
from nbmlops.records import EnvironmentPolicy, Identity, plain
from nbmlops.stats import scores
from nbmlops.store import Store, environments, ledger, schema

DEFAULT = {
    "staging": EnvironmentPolicy("staging", service=True, robustness=True),
    "production": EnvironmentPolicy("production", after="staging", approvers=1),
}
_TABLES, _ANNOUNCE = ("environments", "models"), "announce"  # the last is read by nbmlops.announcements
_OF_MODEL = ("rules", "gate", "compare", "margin", "undecided", "expectations", "golden")
_ADDED = ("rules", "expectations")  # a model's own come on top; anything else takes the place of the environment's


@dataclass(frozen=True)
class Policies:
    """Every environment in its order, and what single models must fulfil besides. ``path`` is where it is written."""

    environments: Mapping[str, EnvironmentPolicy] = field(default_factory=lambda: dict(DEFAULT))
    models: Mapping[str, Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    path: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As the ledger keeps it."""
        return {
            "environments": [policy.to_dict() for policy in self.environments.values()],
            "models": {name: {env: dict(own) for env, own in of.items()} for name, of in self.models.items()},
        }

    def of(self, environment: str, model: str = "") -> EnvironmentPolicy:
        """The rules of one environment; those for one model are added to it, and its gate takes the other's place.

        Raises:
            NotFound: there is no such environment.
        """
        if environment not in self.environments:
            raise NotFound.of("environment", str(environment), self.environments)
        found = self.environments[environment]
        own = self.models.get(model, {}).get(environment, {})
        more: dict[str, Any] = {k: (*getattr(found, k), *v) if k in _ADDED else v for k, v in own.items()}
        return replace(found, **more)


def read(root: str | os.PathLike[str] | None = None) -> Policies:
    """What the project says; without a word of it: staging, then production with one approval.

    Args:
        root: the project's folder; by default the one of the settings.

    Raises:
        InvalidValue: the file cannot be read as such; every fault is listed.
    """
    folder = Path(root or settings.project_root())
    own = settings.project_file(folder)
    if own is not None:
        given = {key: value for key, value in own.items() if key != _ANNOUNCE}
        return _Reader(str(folder / settings.FILE)).policies(given)
    table = settings.table(folder)
    given = {key: table[key] for key in _TABLES if key in table}
    return _Reader(str(folder / "pyproject.toml")).policies(given) if given else Policies()


def current(store: Store) -> Policies:
    """The project's rules where it writes any, else those that the store was last used with, else the default."""
    here = read()
    return here if here.path else kept(store) or here


def kept(store: Store) -> Policies | None:
    """The rules that a store was last used with; None for one that never was."""
    with store.read() as db:
        data = environments.kept(db)
    if data is None:
        return None
    found = [_policy(told) for told in data["environments"]]
    return Policies({policy.name: policy for policy in found}, data["models"])


def _policy(told: dict[str, Any]) -> EnvironmentPolicy:
    """One environment as :meth:`Policies.to_dict` has told of it."""
    given: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in told.items()}
    return EnvironmentPolicy(**given)


def adopt(store: Store, db: sa.Connection, policies: Policies, identity: Identity) -> None:
    """Keep the rules as an event, if they are others than those that the store was last used with.

    Args:
        store: an open store.
        db: a transaction under the ledger's lock.
        policies: the rules to be used now.
        identity: who uses them.

    Raises:
        NotAllowed: there are administrators, and this is none of them.
        UsageFault: the name of a new environment is a label that somebody has given to a version.
    """
    before = kept(store) or Policies()
    now = plain(policies.to_dict())
    if now == plain(before.to_dict()):
        return
    if identities.administrators(store) and ADMIN not in identity.roles:
        raise NotAllowed(
            f"{policies.path} has other rules than this store, and {identity.user} is no administrator",
            f"have somebody with the role {ADMIN} use them first, or go back to the old ones",
        )
    _refuse_labels(db, set(policies.environments) - set(before.environments))
    ledger.append(db, type=environments.EVENT, subject=environments.SUBJECT, user=identity.user, data=now)


def _refuse_labels(db: sa.Connection, new: set[str]) -> None:
    """An environment holds only what was promoted into it, never what a free label happened to point to."""
    a = schema.model_aliases
    rows = db.execute(sa.select(a).where(a.c.alias.in_(new)).order_by(a.c.alias, a.c.name)).all() if new else []
    if rows:
        held = ", ".join(f"{row.alias} of model:{row.name}@{row.version}" for row in rows[:5])
        raise UsageFault(
            f"{rows[0].alias} cannot become an environment: it is a label already ({held})",
            "give the environment another name",
        )


class _Reader:
    """Reads the tables, and gathers what is wrong with them."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.faults: list[str] = []

    def policies(self, given: Mapping[str, Any]) -> Policies:
        self._known(given, _TABLES, "")
        environments = self._environments(given.get("environments"))
        models = self._models(given.get("models", {}), environments)
        if self.faults:
            raise InvalidValue.of(self.path, self.faults, "docs/promotion.md shows what may be written there")
        return Policies(environments, models, self.path)

    def _environments(self, given: Any) -> dict[str, EnvironmentPolicy]:
        if given is None:
            return dict(DEFAULT)
        if not isinstance(given, dict) or not given:
            self.faults.append("environments: a table for each of them is needed, such as [environments.staging]")
            return dict(DEFAULT)
        names, found = list(given), {}
        for place, (name, table) in enumerate(given.items()):
            before, last = names[place - 1] if place else None, place == len(names) - 1
            start = EnvironmentPolicy(
                name, after=before, approvers=int(last), service=place == 0, robustness=place == 0
            )
            found[name] = self._environment(start, table)
        for name, policy in found.items():
            if policy.after is not None and (policy.after not in names[: names.index(name)]):
                self.faults.append(
                    f"environments.{name}.after: {policy.after!r} is no environment that is named above it"
                )
        return found

    def _environment(self, start: EnvironmentPolicy, table: Any) -> EnvironmentPolicy:
        where = f"environments.{start.name}"
        try:
            refs.check_name(start.name, "environment")
            if start.name == "latest" or start.name.removeprefix("v").isdecimal():
                raise InvalidValue(f"{start.name!r} means a version", "choose another word")
        except InvalidValue as error:
            self.faults.append(f"{where}: {error.message}")
        if not isinstance(table, dict):
            self.faults.append(f"{where}: a table is needed, not {table!r}")
            return start
        self._known(table, _TAKEN, f"{where}.")
        found = {key: value for key in table if key in _TAKEN and (value := self._taken(where, key, table)) is not None}
        policy = replace(start, **found)
        if policy.roles and not policy.approvers:
            self.faults.append(f"{where}: roles are named, and nobody has to approve; set approvers")
        return policy

    def _models(self, given: Any, environments: Mapping[str, EnvironmentPolicy]) -> dict[str, Any]:
        if not isinstance(given, dict):
            self.faults.append('models: a table for each of them is needed, such as [models."churn".staging]')
            return {}
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for model, tables in given.items():
            where = f"models.{model}"
            if not isinstance(tables, dict):
                self.faults.append(f"{where}: a table for each environment is needed")
                continue
            self._known(tables, environments, f"{where}.")
            for environment, table in tables.items():
                here = f"{where}.{environment}"
                if not isinstance(table, dict):
                    self.faults.append(f"{here}: a table is needed, not {table!r}")
                    continue
                self._known(table, _OF_MODEL, f"{here}.")
                found.setdefault(model, {})[environment] = {
                    key: value for key in table if key in _OF_MODEL and (value := self._taken(here, key, table))
                }
        return found

    def _taken(self, where: str, key: str, table: Mapping[str, Any]) -> Any:
        try:
            return _TAKEN[key](table[key])
        except InvalidValue as error:
            self.faults.append(f"{where}.{key}: {'; '.join(error.faults) or error.message}")
        except ValueError as error:
            self.faults.append(f"{where}.{key}: {error}")
        return None

    def _known(self, table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
        names = list(known)
        for key in table:
            if key not in names:
                close = difflib.get_close_matches(str(key), names, n=1)
                hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}"
                self.faults.append(f"{where}{key} is not known ({hint})")


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"text is needed, not {value!r}")
    return value.strip()


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) and v.strip() for v in value):
        raise ValueError(f"a list of texts is needed, not {value!r}")
    return tuple(v.strip() for v in value)


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"true or false is needed, not {value!r}")
    return value


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 100:
        raise ValueError(f"a whole number from 0 to 100 is needed, not {value!r}")
    return value


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"a share from 0 to 1 is needed, not {value!r}")
    return float(value)


def _rules(value: Any) -> tuple[str, ...]:
    return tuple(rules.check(_texts(value)))


def _score(value: Any) -> str:
    names = (*scores.HIGHER, *scores.LOWER, "off")
    if value not in names:
        raise ValueError(f"one of {', '.join(names)} is needed, not {value!r}")
    return str(value)


def _margin(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise ValueError(f"a number that is not negative is needed, not {value!r}")
    return float(value)


def _level(value: Any) -> str:
    if value not in {"pass", "warn", "block"}:
        raise ValueError(f"pass, warn or block is needed, not {value!r}")
    return str(value)


def _expectations(value: Any) -> tuple[dict[str, Any], ...]:
    if not isinstance(value, list):
        raise ValueError(f"a list of tables is needed, not {value!r}")
    return tuple(_expectation(one) for one in value)


def _expectation(one: Any) -> dict[str, Any]:
    """``{invariant, to, share?}`` or ``{increases|decreases, when, by, share?}``."""
    keys = set(one) - {"share"} if isinstance(one, dict) else set()
    if keys == {"invariant", "to"}:
        if not isinstance(one["to"], list) or not one["to"]:
            raise ValueError(f"to: a list of values is needed, not {one['to']!r}")
        texts: tuple[str, ...] = ("invariant",)
    elif keys in ({"increases", "when", "by"}, {"decreases", "when", "by"}):
        if isinstance(one["by"], bool) or not isinstance(one["by"], int | float):
            raise ValueError(f"by: a number is needed, not {one['by']!r}")
        texts = ("increases" if "increases" in one else "decreases", "when")
    else:
        raise ValueError(f"{{invariant, to}} or {{increases or decreases, when, by}} is needed, not {one!r}")
    for key in texts:
        _text(one[key])
    if "share" in one:
        _share(one["share"])
    return dict(one)


_TAKEN: Mapping[str, Callable[[Any], Any]] = {
    "after": _text, "approvers": _count, "roles": _texts, "four_eyes": _switch, "expires": clock.seconds_in,
    "rules": _rules, "gate": _text, "service": _switch, "shadow": _share, "canary": _share, "robustness": _switch,
    "compare": _score, "margin": _margin, "undecided": _level, "expectations": _expectations, "golden": _text,
}  # fmt: skip
