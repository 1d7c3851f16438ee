"""Files that an extraction writes: whole or not at all, and never over another without being told to."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from nbmlops.errors import StoreFault, UsageFault


def check_free(targets: Iterable[Path], force: bool) -> None:
    """See that the files can be written, before any work is done.

    Raises:
        UsageFault: one of them is there already, and ``force`` is not given.
        StoreFault: a folder is not there.
    """
    for target in targets:
        if target.is_dir() or (target.exists() and not force):
            raise UsageFault(f"{target} is there already", "choose another name, or write over it with --force")
        if not target.absolute().parent.is_dir():
            raise StoreFault(f"there is no folder {target.parent}", "make it first")


def write(target: Path, data: bytes, force: bool) -> None:
    """Write a file at once.

    Raises:
        UsageFault: somebody else has written it in the meantime.
        StoreFault: it cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}-", dir=target.absolute().parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.chmod(name, 0o666 & ~_umask())
            if force:
                os.replace(name, target)
            else:
                os.link(name, target)  # unlike a rename it fails where there is a file
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
    except FileExistsError as error:
        raise UsageFault(f"{target} is there already", "choose another name, or write over it with --force") from error
    except OSError as error:
        raise StoreFault(f"cannot write {target}: {error.strerror}", "check the folder's permissions") from error


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current
