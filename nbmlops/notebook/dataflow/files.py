"""Files, random states, clocks and the active run: what code depends on without naming it."""

from __future__ import annotations

from pathlib import PurePath

from nbmlops.notebook import known
from nbmlops.notebook.dataflow import knowledge
from nbmlops.notebook.dataflow.given import Given
from nbmlops.notebook.dataflow.machine import Machine
from nbmlops.notebook.dataflow.things import Value

_KINDS = {
    "asks the clock": "clock", "uses the network": "network", "runs a command": "shell", "asks a database": "database",
    "depends on what is in the store": "store", "installs packages": "environment",
    "depends on what IPython has stored": "dynamic",
}  # fmt: skip
RUN = "run"


def note_impure(m: Machine, why: str, what: str) -> None:
    """A reason of ``known.impurity`` as a note; what is not among the kinds is a deed: it decides, records, runs."""
    m.note(_KINDS.get(why, "act"), f"{why}: {what}")


def draw(m: Machine, state: str, what: str, *versions: int | str) -> int:
    """A number from a global random state; the version stands for what the state was."""
    name = f"random {state}"
    if state == "never" or name not in m.hidden:
        if state == "never":
            m.note("random", f"{what} never answers the same")
        else:
            m.note("random", f"{what} draws from the random state of {state}, which no cell before it has seeded", what)
        return m.read(m.versions.of("unseeded", state))
    version = m.read_hidden(name) or 0
    m.set_hidden(name, m.versions.of("drawn", version, what, *versions), anew=False)
    return version


def seed(m: Machine, states: tuple[str, ...], given: Given) -> None:
    """Set global random states; without a seed they are as before: nobody knows."""
    first = given.at(0, "seed", "a", "s")
    unknown = first is None or (first.constant is None and first.sort == "plain" and not first.things
                                and first.version == m.versions.of("constant", "NoneType", "None"))  # fmt: skip
    for state in states:
        if unknown:
            m.hidden.pop(f"random {state}", None)
        else:
            m.set_hidden(f"random {state}", m.versions.of("seeded", state, *given.versions), anew=True)


def path_of(value: Value | None) -> str | None:
    """The path that a value is, where that is known; empty for what is surely none."""
    if value is None:
        return ""
    if isinstance(value.constant, str):
        return value.constant
    if value.things and value.sort in {"handle", "pandas", "list", "dict"}:
        return ""
    return None


def _named(path: str) -> str:
    return f"file {PurePath(path)}"


def write_file(m: Machine, path: str | None, version: int, *, more: bool = False) -> None:
    """A file is written; ``more`` where what was there before stays."""
    name = "files" if path is None else _named(path)
    m.outcomes.append(version)
    old = m.hidden.get(name)
    more = more or path is None
    if more and old is not None:
        version = m.versions.of("appended", old.choice, version)
    m.set_hidden(name, version, anew=not more)
    m.step.files.append(("write", path or "", False))


def read_file(m: Machine, path: str | None, what: str) -> int:
    """A file is read; noted where no cell has written it."""
    versions = [m.read_hidden("files") or 0, folder(m, path)]
    if path is None:
        for name in [name for name in m.hidden if name.startswith("file ")]:
            versions.append(m.read_hidden(name) or 0)
        if len(versions) == 2 and not versions[0]:
            m.note("file", f"{what} reads a file that is no snapshot; its name is made while the cell runs")
        return m.versions.of("files", *versions)
    text = path.removeprefix("file://")
    if "://" in text or text.startswith(("s3:", "gs:")):
        m.note("network", f"{what} reads from the network: {text.partition('://')[0]}://…")
        return m.read(m.versions.of("address", text))
    known_here = False
    for inner in (PurePath(text), *PurePath(text).parents):
        found = m.read_hidden(f"file {inner}")
        known_here = known_here or (found is not None and inner == PurePath(text))
        versions.append(found or 0)
    inside = any(n.startswith(f"file {PurePath(text)}/") for n in m.hidden)
    if not known_here and not inside and not versions[0]:
        m.note("file", f"{what} reads {text!r}, a file that is no snapshot", text)
        if PurePath(text).is_absolute() or text.startswith("~") or text[1:3] in (":\\", ":/"):
            m.note("path", f"{what} reads {text!r}: a path that only this machine has", text)
    m.step.files.append(("read", text, known_here))
    return m.read(m.versions.of("file", text, *versions))


def active_run(m: Machine, verb: str, given: Given) -> None:
    """What verbs of nbmlops do to the active run, and which need it."""
    m.outcomes += [version for version in given.versions if isinstance(version, int)]
    if why := known.IMPURE_VERBS.get(verb):
        note_impure(m, why, f"{verb}()")
    if verb in knowledge.RUN_BEGINS:
        m.set_hidden(RUN, m.versions.of("run", verb), anew=verb == "start_run")
    elif knowledge.RUN_USES.fullmatch(verb) and (bound := m.hidden.get(RUN)) is not None:
        m.step.needs |= bound.steps
        if bound.steps & ~m.bit:
            m.step.sources.setdefault("<run>", 0)
            m.step.sources["<run>"] |= bound.steps & ~m.bit


def impure(m: Machine, origin: str, given: Given) -> None:
    """Note what a library's function rests on besides its arguments."""
    if why := known.impurity(origin, len(given.values) + len(given.named)):
        note_impure(m, why, f"{origin}()")
    elif known.asks_clock(origin):
        m.note("clock", f"asks the clock: {origin}()")
    elif known.races(origin):
        m.note("random", f"depends on which is done first: {origin}()")
    elif origin in {"os.getenv", "os.environ.get", "os.environ.pop", "os.environ.setdefault"}:
        m.read(variable(m, given.text(0)))
    elif known.environs(origin) and (origin != "os.path.expanduser" or (path_of(given.at(0)) or "~")[:1] == "~"):
        m.note("environment", f"depends on the machine: {origin}()")


def variable(m: Machine, name: str | None) -> int:
    """The version of an environment variable; noted where no cell has set it."""
    found = m.read_hidden(f"environment {name}") if name is not None else None
    if found is None:
        m.note("environment", f"reads the environment variable {name or '…'}", *([name] if name else []))
    return found or 0


def folder(m: Machine, path: str | None) -> int:
    """The version of the working folder, for a path that begins there."""
    return 0 if path and PurePath(path).is_absolute() else m.read_hidden("folder") or 0


def change_folder(m: Machine, path: str | None, version: int) -> None:
    """``os.chdir(path)``: twice into a relative one is not the same as once."""
    anew = (path is not None and PurePath(path).is_absolute()) or (path is None and m.hopeful)
    old = m.hidden.get("folder")
    m.set_hidden("folder", m.versions.of("folder", 0 if anew or old is None else old.choice, version), anew=anew)
