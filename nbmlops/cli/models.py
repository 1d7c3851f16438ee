"""``nbmlops model …``, ``models``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from nbmlops.cli.options import complete_model, json_option, listing, workspace
from nbmlops.cli.output import write

_model = click.argument("ref", shell_complete=complete_model)
_to = click.option("--to", required=True, metavar="ENV", help="The environment, such as staging or production.")
_reason = click.option("--reason", required=True, help="Why; kept in the ledger.")


@click.group()
def model() -> None:
    """Registered models: show, promote, approve, reject, roll back."""


@model.command("list")
@json_option
def list_() -> Any:
    """Every model with its latest version and its aliases."""
    return listing(workspace().models.list(), "Models")


@model.command()
@_model
@json_option
def show(ref: str) -> Any:
    """One version: signature, metrics, data, aliases."""
    return workspace().models.get(ref)


@model.command()
@_model
@json_option
def versions(ref: str) -> Any:
    """All versions of a model."""
    return listing(workspace().models.versions(ref.removeprefix("model:")), f"Versions of {ref}")


@model.command()
@_model
@click.argument("alias")
def alias(ref: str, alias: str) -> Any:
    """Give a version a free label; environments move only by promotion."""
    models = workspace().models
    version = models.get(ref)
    models.set_alias(version.name, alias, version.version)
    return f"{version.ref} is now {version.name}@{alias}"


@model.command()
@_model
@_to
@_reason
@click.option(
    "--rule", "rules", multiple=True, help='A rule to fulfil, e.g. "metrics.roc_auc >= 0.65"; may be repeated.'
)
@json_option
def promote(ref: str, to: str, reason: str, rules: tuple[str, ...]) -> Any:
    """Bring a version into an environment, through its tests, rules and (for production) an approval.

    \b
    nbmlops model promote churn@3 --to staging --reason "better recall" --rule "metrics.recall >= 0.8"
    """
    return workspace().promotion.promote(ref, to, reason, rules=rules)


@model.command()
@_model
@_to
@_reason
@json_option
def approve(ref: str, to: str, reason: str) -> Any:
    """Complete an open approval: the version then stands in the environment."""
    return workspace().promotion.approve(ref, to, reason)


@model.command()
@_model
@_to
@_reason
@json_option
def reject(ref: str, to: str, reason: str) -> Any:
    """End an open approval; nothing moves."""
    return workspace().promotion.reject(ref, to, reason)


@model.command()
@click.argument("name", shell_complete=complete_model)
@click.option(
    "--env", "environment", required=True, metavar="ENV", help="The environment, such as staging or production."
)
@_reason
@json_option
def rollback(name: str, environment: str, reason: str) -> Any:
    """Bring back the version that stood in an environment before."""
    return workspace().promotion.rollback(name.removeprefix("model:"), environment, reason)


@model.command()
@_model
@_reason
@json_option
def delete(ref: str, reason: str) -> Any:
    """Take a version out of use; its history stays. Refused while it stands in an environment."""
    return workspace().promotion.delete(ref, reason)


@model.command()
@json_option
def environments() -> Any:
    """The environments in their order, and what a version must fulfil to stand there (docs/promotion.md)."""
    return listing(list(workspace().promotion.policies().environments.values()), "Environments")


@model.command()
@_model
@json_option
def certify(ref: str) -> Any:
    """Execute a version's run again in a fresh kernel and keep the certificate; exit 1 if it differs."""
    here = workspace()
    return here.reproduction.certify(here.models.get(ref)).certificate


@model.command()
@_model
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="This kind only; may be repeated.")
@click.option("--gather", is_flag=True, help="Measure what was not measured yet.")
@click.option("--again", is_flag=True, help="Measure once more what was measured, or has failed, before.")
@json_option
def evidence(ref: str, kinds: tuple[str, ...], gather: bool, again: bool) -> Any:
    """What shows how a version was made and what it is worth (docs/evidence.md)."""
    desk = workspace().evidence
    if gather or again:
        desk.gather(ref, kinds or None, again=again)
    found = [e for e in desk.of(ref) if not kinds or e.kind in kinds]
    return found[0] if len(kinds) == 1 and found else listing(found, f"Evidence of {ref}")


@model.command()
@_model
@click.option("--env", "environment", metavar="ENV", help="The review for this environment.")
@click.option("-o", "--out", type=click.Path(dir_okay=False), help="Write the page to this file.")
@json_option
def review(ref: str, environment: str | None, out: str | None) -> Any:
    """What an environment's tests found of a version, lately; its page is what a reviewer reads."""
    here = workspace()
    found = here.promotion.review(ref, environment)
    if out is None:
        return found
    write(out, here.promotion.reviews.page(found))
    return f"wrote the review of {found.ref} for {found.environment} to {out}"


def _written(verb: str, ref: str, out: str | None) -> Any:
    """A card or dossier: shown, or written to a file."""
    desk = workspace().dossiers
    made = getattr(desk, verb)(ref)
    if out is None:
        return made
    write(out, desk.render(made, out).encode())
    left = len(made.missing())
    return f"wrote {out}" + (f"; {left} things are still to be written or measured" if left else "")


_out = click.option("-o", "--out", type=click.Path(dir_okay=False), help="Write it to this file: .md or .html.")


@model.command()
@_model
@_out
@json_option
def card(ref: str, out: str | None) -> Any:
    """What somebody who uses a version must know (docs/cards.md)."""
    return _written("card", ref, out)


@model.command()
@_model
@_out
@json_option
def dossier(ref: str, out: str | None) -> Any:
    """Technical documentation in the order of the EU AI Act's Annex IV, with what is still missing."""
    return _written("dossier", ref, out)


@model.command()
@json_option
def approvals() -> Any:
    """Approvals that wait for somebody."""
    rows = []
    for waiting in workspace().promotion.pending():
        passed = sum(f.ok for f in waiting.findings)
        rows.append(
            {
                **{k: getattr(waiting, k) for k in ("model", "version", "environment", "user", "reason", "at")},
                "approved": f"{len(waiting.votes)} of {waiting.required}",
                "checks": f"{passed} of {len(waiting.findings)} passed",
            }
        )
    return listing(rows, "Open approvals")


@model.command()
@_model
@click.argument("folder", type=click.Path(file_okay=False))
@click.option("--format", "format_", type=click.Choice(["mlmodel", "onnx"]), default="mlmodel", show_default=True)
@json_option
def export(ref: str, folder: str, format_: str) -> Any:
    """Write a version into a new FOLDER: as a model that MLflow loads and serves, or as ONNX."""
    return workspace().exports.export(ref, folder, format_)


@model.command()
@_model
@json_option
def verify(ref: str) -> Any:
    """Re-hash a version's package, or an exported folder, and check what it would need to be trusted."""
    if Path(ref).is_dir():
        from nbmlops.flavors import mlmodel

        index = mlmodel.check(Path(ref))
        return f"{ref} is {index['ref']} as it was exported: {len(index['files'])} files"
    return listing(workspace().models.verify(ref), "Verification")


@click.command()
@json_option
def models() -> Any:
    """Short for `model list`."""
    return listing(workspace().models.list(), "Models")


COMMANDS = (model, models)
