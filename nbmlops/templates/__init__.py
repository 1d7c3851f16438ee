"""``nbmlops init``: a small project that works as it is, to be changed step by step into one's own."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

from nbmlops.errors import StoreFault, UsageFault

# Where a file goes, and its name in ``project/``; there no name begins with a dot, as git and CI would obey such files.
_FILES = {
    "README.md": "README.md",
    "pipeline.yaml": "pipeline.yaml",
    "notebooks/features.ipynb": "features.ipynb",
    "notebooks/train.ipynb": "train.ipynb",
    "notebooks/evaluate.ipynb": "evaluate.ipynb",
    "pyproject.toml": "pyproject.toml",
    "Dockerfile": "Dockerfile",
    ".gitignore": "gitignore",
    ".github/workflows/ci.yml": "ci.yml",
}
_LIBRARIES = ("matplotlib", "pandas", "scikit-learn")  # what the notebooks import


def write_project(folder: Path) -> list[str]:
    """Write the project into ``folder``; a line per file, which says so where one was there and was kept.

    Raises:
        UsageFault: the folder, or a folder in it, is a file.
        StoreFault: it cannot be written; what was written until then stays.
    """
    lines = []
    for name, text in _texts():
        target = folder / name
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("x", encoding="utf-8", newline="\n") as file:
                file.write(text)
        except FileExistsError:
            if not target.parent.is_dir():
                raise UsageFault(f"{target.parent} is a file", "name another folder, or move it away") from None
            lines.append(f"{name}  (kept: it was there)")
        except NotADirectoryError as error:
            raise UsageFault(f"{error.filename} lies in a file", "name another folder") from None
        except OSError as error:
            raise StoreFault(
                f"{target} cannot be written: {error.strerror}", "mend the folder's permissions"
            ) from error
        else:
            lines.append(name)
    return lines


def _texts() -> Iterator[tuple[str, str]]:
    source = files(__name__) / "project"
    for name, held in _FILES.items():
        yield name, (source / held).read_text(encoding="utf-8")
    yield "requirements.txt", _requirements()
    # The folder makes this the root, even inside a project that has a store of its own.
    yield ".nbmlops/.gitignore", "*\n"


def _requirements() -> str:
    """The versions installed here, so that the pipeline runs elsewhere as it does here."""
    version = importlib.metadata.version
    pins = [f"nbmlops[serve]=={version('nbmlops')}", *(f"{name}=={version(name)}" for name in _LIBRARIES)]
    return "# The versions with which this project was made.\n" + "\n".join(pins) + "\n"
