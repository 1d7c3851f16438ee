"""Options and completions that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from nbmlops.errors import NbmlopsError


def _as_json(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value:
        ctx.find_root().ensure_object(dict)["json"] = True


json_option = click.option(
    "--json", is_flag=True, expose_value=False, callback=_as_json, help="Print JSON, for other programs."
)


def assignments(texts: tuple[str, ...]) -> dict[str, str]:
    """``("lr=0.1", "depth=3")`` as a dictionary; everything after the first ``=`` is the value.

    Raises:
        click.BadParameter: an entry has no ``=``.
    """
    found = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE")
        found[name] = value
    return found


params_option = click.option(
    "-p", "--param", "params", multiple=True, metavar="NAME=VALUE", help="A parameter; may be given several times."
)


def _names(desk: str, kind: str, to_name: Callable[[Any], str]) -> Callable[..., list[str]]:
    def complete(_ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
        from nbmlops import session

        try:
            records = getattr(session.workspace(), desk)
            found = [to_name(r) for r in (records.search(limit=50) if desk == "runs" else records.list())]
        except NbmlopsError:  # completion on the terminal has nowhere to report to
            return []
        both = [*found, *(f"{kind}:{name}" for name in found)]
        return [name for name in both if name.startswith(incomplete)]

    return complete


complete_run = _names("runs", "run", lambda r: str(r.run_id))
complete_dataset = _names("datasets", "dataset", lambda r: str(r.name))
complete_model = _names("models", "model", lambda r: str(r.name))


def workspace() -> Any:
    """The workspace the command acts on."""
    from nbmlops import session

    return session.workspace()


def listing(records: Any, title: str) -> Any:
    """Records as one table."""
    from nbmlops.display import Listing

    return Listing(records, title)
