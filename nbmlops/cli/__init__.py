"""The command line, and the grammar that ``%mlops`` shares with it.

A command parses, makes one call to a desk, and *returns* the record. Printing, JSON, exit codes and errors are handled
once, here: on the terminal the returned record is printed; the magics take it as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from nbmlops.errors import NbmlopsError, UsageFault


class Entry(click.Group):
    """The top group: it knows how an error, and an answer of "no", leaves the process."""

    def main(self, args: Any = None, prog_name: str | None = None, standalone_mode: bool = True, **extra: Any) -> Any:  # type: ignore[override]
        """Standalone: print the result or a two-line error, and exit. Otherwise return the record or raise our own."""
        arguments = list(sys.argv[1:] if args is None else args)
        debug = "--debug" in arguments
        try:
            value = super().main(arguments, prog_name or "nbmlops", standalone_mode=False, **extra)
        except click.exceptions.NoArgsIsHelpError as error:  # `nbmlops model`: the help is the answer
            click.echo(error.format_message())
            value = 2
        except click.ClickException as error:
            fault = usage_fault(error)
            if not standalone_mode:
                raise fault from None
            _fail(fault, debug)
        except NbmlopsError as error:
            if not standalone_mode:
                raise
            _fail(error, debug)
        except (KeyboardInterrupt, click.Abort):
            if not standalone_mode:
                raise
            click.echo("interrupted", err=True)
            sys.exit(130)
        except BrokenPipeError:  # `nbmlops runs | head`
            sys.exit(0)
        if not standalone_mode:
            return value
        from nbmlops.cli.output import exit_code

        sys.exit(value if isinstance(value, int) else exit_code(value))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click's, but a verb without its noun, as `%mlops` takes some, is told where it is."""
        if args[0] not in self.commands:
            groups = [n for n, g in self.commands.items() if isinstance(g, click.Group) and args[0] in g.commands]
            if groups:
                where = " or ".join(f"`nbmlops {group} {args[0]}`" for group in groups)
                raise UsageFault(f"no such command {args[0]!r}", f"it is {where}")
        return super().resolve_command(ctx, args)


def usage_fault(error: click.ClickException) -> UsageFault:
    """Click's complaint as one of our errors, so that papermill and the magics show it whole."""
    context = getattr(error, "ctx", None)
    hint = f"see `{context.command_path} --help`" if context is not None else "see `nbmlops --help`"
    message = " ".join(error.format_message().split())
    return UsageFault(message[:1].lower() + message[1:].rstrip("."), hint)


def _fail(error: NbmlopsError, debug: bool) -> NoReturn:
    if debug:
        import traceback

        traceback.print_exception(error)
    else:
        first, second = error.lines()
        click.echo(click.style(first, fg="red"), err=True)
        if second:
            click.echo(second, err=True)
    sys.exit(error.exit_code)


@click.group(
    cls=Entry,
    invoke_without_command=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(package_name="nbmlops", prog_name="nbmlops")
@click.option("--store", metavar="WHERE", help="Use this store: a folder or an SQLAlchemy URL (NBMLOPS_STORE).")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def entry(ctx: click.Context, store: str | None, debug: bool) -> None:
    """MLOps from inside Jupyter: runs, data sets, models, pipelines, serving and monitoring.

    \b
    nbmlops runs                                the latest runs
    nbmlops pipeline run pipeline.yaml -p month=3
    nbmlops model promote churn@3 --to staging --reason "better recall"
    nbmlops why prediction:01J…                 back to the cells and data that made it

    The same commands work in a notebook as `%mlops …`.
    """
    ctx.ensure_object(dict)
    if store:
        from nbmlops import session

        session.use(store)


@entry.result_callback()
@click.pass_context
def _show(ctx: click.Context, value: Any, **_options: Any) -> Any:
    if ctx.obj.get("print", True) and value is not None:
        from nbmlops.cli.output import show

        show(value, as_json=ctx.obj.get("json", False))
    return value


def _add_commands() -> None:
    from nbmlops.cli import capsules, cells, data, kernels, ledger, models, operations, pipelines, runs, stores

    for module in (runs, capsules, cells, data, models, pipelines, operations, ledger, stores, kernels):
        for command in module.COMMANDS:
            entry.add_command(command)


_add_commands()


def main(args: Sequence[str] | None = None) -> None:
    """The console script ``nbmlops``."""
    entry.main(args)
