"""``nbmlops kernel …``: warm kernels for JupyterLab."""

from __future__ import annotations

import sys
from typing import Any

import click

from nbmlops.errors import UsageFault


@click.group()
def kernel() -> None:
    """Kernels that start with the heavy modules imported (Linux)."""


@kernel.command()
@click.option("--user", is_flag=True, help="Into your own Jupyter folder.")
@click.option("--sys-prefix", is_flag=True, help="Into this Python's environment (the default).")
@click.option("--prefix", metavar="DIR", type=click.Path(), help="Into DIR/share/jupyter/kernels.")
@click.option("--preload", metavar="A,B", help="Modules that are imported beforehand, for example pandas,scipy.stats.")
def install(user: bool, sys_prefix: bool, prefix: str | None, preload: str | None) -> Any:
    """Write the kernelspec "nbmlops", for JupyterLab and every other Jupyter program.

    \b
    nbmlops kernel install --user --preload pandas,sklearn.linear_model,matplotlib.pyplot
    """
    from nbmlops import kernels
    from nbmlops.kernels import spec

    if sum((user, sys_prefix, prefix is not None)) > 1:
        raise UsageFault("--user, --sys-prefix and --prefix exclude each other", "give one of them, or none")
    modules = spec.USUAL_PRELOAD if preload is None else [m.strip() for m in preload.split(",") if m.strip()]
    folder = spec.install(modules, user=user, prefix=sys.prefix if sys_prefix else prefix)
    reason = kernels.available()
    return "\n".join(
        [
            f"wrote {folder}: {spec.DISPLAY_NAME}",
            f"  its kernels have imported: {', '.join(modules) or 'ipykernel only'}",
            f"  but on this machine they start the usual way: {reason}" if reason else "  choose it in JupyterLab, or:",
            f"  papermill --kernel {spec.NAME} in.ipynb out.ipynb",
        ]
    )


@kernel.command()
def remove() -> Any:
    """Remove the kernelspec "nbmlops"; kernels that run go on, processes that wait for the next one end."""
    from nbmlops import kernels
    from nbmlops.kernels import spec

    folder = spec.remove()
    kernels.stop_all()
    return f"removed {folder}"


COMMANDS = (kernel,)
