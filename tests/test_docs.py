"""What README and docs/ say: the blocks of README run, names and commands are all there, links lead somewhere."""

from __future__ import annotations

import inspect
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import nbmlops
from nbmlops import errors
from nbmlops.cli import entry
from nbmlops.settings import SETTINGS

ROOT = Path(__file__).resolve().parent.parent
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# Runs the blocks given on stdin in one IPython shell, as a notebook would, and bash blocks in bash; ends at a fault.
RUNNER = """
import json, subprocess, sys
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance()
for language, code in json.load(sys.stdin):
    if language == "python":
        done = shell.run_cell(code, store_history=True).success
    else:
        done = subprocess.run(["bash", "-eum", "-c", code], stdin=subprocess.DEVNULL).returncode == 0
    if not done:
        sys.exit(f"this block failed:\\n{code}")
"""


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


def text_of(pages: list[Path]) -> str:
    return "\n".join(p.read_text(encoding="utf-8") for p in pages)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def run_blocks(tour: list[tuple[str, str]], folder: Path) -> str:
    """Run blocks in a fresh process on a fresh store; returns what they print."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("NBMLOPS_")}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "IPYTHONDIR": str(folder / "ipython"),
        "NBMLOPS_STORE": str(folder / "store"),
        "NBMLOPS_USER": "reader",
        "MPLBACKEND": "agg",
    }
    words = [sys.executable, "-c", RUNNER]
    done = subprocess.run(
        words, input=json.dumps(tour), cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
    return done.stdout


@pytest.mark.slow
def test_the_tour_of_the_readme_runs_from_top_to_bottom(tmp_path: Path) -> None:
    """Pipelines take longer than the rest of the tour; tests/test_init.py runs the very project that `init` writes."""
    port = str(free_port())
    tour = [(kind, code.replace("8080", port)) for kind, code in blocks(ROOT / "README.md")]
    tour = [(kind, code.replace("nbmlops pipeline run pipeline.yaml\n", "")) for kind, code in tour]
    assert {kind for kind, _ in tour} == {"python", "bash"}
    said = run_blocks(tour, tmp_path)
    assert '"predictions":' in said, "the server of the tour answered"
    assert "the ledger is intact" in said
    assert "train.ipynb  [proved]" in said
    assert (tmp_path / "project" / "pipeline.yaml").is_file()


@pytest.mark.parametrize("page", ["tracking.md", "magics.md", "storage.md"])
def test_the_blocks_of_a_page_run(page: str, tmp_path: Path) -> None:
    run_blocks(blocks(ROOT / "docs" / page), tmp_path)


def commands(group: click.Group, before: str = "nbmlops") -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{before} {name}")
        else:
            yield f"{before} {name}"


def test_every_public_name_is_in_the_docs() -> None:
    said = text_of(DOCS)
    missing = [n for n in nbmlops.__all__ if not re.search(rf"(?<!\w){re.escape(n)}(?!\w)", said)]
    assert not missing, f"not mentioned in docs/: {', '.join(missing)}"


def test_every_command_is_in_the_docs() -> None:
    said = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    missing = [c for c in commands(entry) if not re.search(rf"{re.escape(c)}(?![\w-])", said)]
    assert not missing, f"not mentioned in docs/cli.md: {', '.join(missing)}"


def test_every_command_line_in_the_docs_exists() -> None:
    known = set(commands(entry))
    groups = {c.rsplit(" ", 1)[0] for c in known if c.count(" ") == 2}
    said = re.findall(r"^(?:    |`)?(nbmlops(?: [a-z]+(?:-[a-z]+)*)+)", text_of(PAGES), re.MULTILINE)
    said += re.findall(r"`(nbmlops(?: [a-z]+(?:-[a-z]+)*)+)", text_of(PAGES))
    wrong = []
    for line in said:
        words = line.split()
        two = " ".join(words[:2])
        three = " ".join(words[:3])
        exists = three in known or len(words) == 2 if two in groups else two in known
        if not exists:
            wrong.append(line)
    assert not wrong, f"no such command: {', '.join(sorted(set(wrong)))}"


def test_every_setting_is_in_the_docs() -> None:
    said = (ROOT / "docs" / "store.md").read_text(encoding="utf-8")
    missing = [s.name for s in SETTINGS if f"`{s.name}`" not in said or f"`NBMLOPS_{s.name.upper()}`" not in said]
    assert not missing, f"not mentioned in docs/store.md: {', '.join(missing)}"


def test_every_error_is_in_the_docs() -> None:
    said = text_of(DOCS)
    classes = [n for n, c in inspect.getmembers(errors, inspect.isclass) if issubclass(c, errors.NbmlopsError)]
    missing = [n for n in classes if not re.search(rf"(?<!\w){n}(?!\w)", said)]
    assert not missing, f"not mentioned in docs/: {', '.join(missing)}"


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    titles = re.findall(r"^#+ (.*)$", BLOCK.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", t.lower()).strip().replace(" ", "-") for t in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"https?://|mailto:", target):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert not broken, f"{page.name} links to {', '.join(broken)}"


def test_every_page_is_linked_from_the_index() -> None:
    said = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    missing = [p.name for p in DOCS if p.name != "index.md" and f"({p.name})" not in said]
    assert not missing, f"docs/index.md does not link {', '.join(missing)}"


@pytest.mark.parametrize("page", DOCS, ids=lambda p: p.name)
def test_python_blocks_of_the_docs_compile(page: Path) -> None:
    from IPython.core.inputtransformer2 import TransformerManager

    for kind, code in blocks(page):
        if kind == "python":
            compile(TransformerManager().transform_cell(code), page.name, "exec")
