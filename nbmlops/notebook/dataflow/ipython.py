"""Magics and shell lines, as the calls that IPython makes of them."""

from __future__ import annotations

import ast
import re
import shlex

from nbmlops.notebook import known
from nbmlops.notebook.dataflow import display, files
from nbmlops.notebook.dataflow.builtin import everything
from nbmlops.notebook.dataflow.library import imported, set_setting
from nbmlops.notebook.dataflow.machine import Machine
from nbmlops.notebook.dataflow.tables import words
from nbmlops.notebook.dataflow.things import Value
from nbmlops.notebook.magic_lines import read_line

# Magics that show or measure something, or set how something is shown.
_QUIET = words(
    """
    matplotlib config time timeit who who_ls whos pinfo pinfo2 psearch lsmagic history hist notebook prun
    memit precision pprint colors xmode debug pdb tb quickref magic page doctest_mode alias_magic load_ext
    reload_ext unload_ext autoreload html HTML javascript js latex markdown svg display logstart logstop cat
    less more ls ll pwd autosave pycat psource pdef pdoc pfile edit rerun_never gui qtconsole watermark
    nbmlops logstate macro_show lprun mprun
    """
)
_SETTING = frozenset(["cd", "pushd", "popd", "env", "set_env", "autocall", "rehashx", "autoawait"])
# Magics that are there once an extension has been loaded.
_EXTENSIONS = {"mlops": "nbmlops", "nbmlops": "nbmlops", "sql": "sql", "memit": "memory_profiler",
               "mprun": "memory_profiler", "lprun": "line_profiler", "watermark": "watermark",
               "autoreload": "autoreload"}  # fmt: skip
_TEXTS = words(
    """
    bash sh script cmd perl ruby python python3 system sx ! pypy
    """
)


_OPTIONS = re.compile(r"(\s*-[a-zA-Z]+(\s*\d+|(?<=[sDTl])\s+\S+)?(?=\s|$))*\s*")


def is_shell(node: ast.expr) -> bool:
    """Whether an expression is ``get_ipython()``."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "get_ipython"
        and not node.args
    )


def call_shell(m: Machine, verb: str, texts: list[str]) -> Value:
    """``get_ipython().run_line_magic("time", "")`` and the like."""
    line = texts[1] if len(texts) > 1 and isinstance(texts[1], str) else ""
    name = texts[0] if texts and isinstance(texts[0], str) else ""
    used = _used(m, " ".join(str(text) for text in texts))
    version = m.versions.of("shell", verb, *texts, *used)
    if verb in {"system", "getoutput", "getoutputs"}:
        network = {"curl", "wget"} & set(name.split())
        m.note("network" if network else "shell", f"runs a command: !{name[:60]}")
        files.write_file(m, None, version)
        return Value(m.read(version), (), "list")
    if verb in {"run_line_magic", "run_cell_magic", "magic"}:
        return _magic(m, name, line, text=texts[2] if len(texts) > 2 else "", version=version)
    m.step.opaque.append(f"get_ipython().{verb}() may set any name")
    if verb.startswith(("run_", "ex", "safe_", "push", "eval", "reset", "del_", "drop_")):
        everything(m, version, certain=True)
    return Value(m.read(version))


def _used(m: Machine, text: str) -> list[int]:
    """The versions of names that IPython puts into a line: ``$name`` and ``{name}``."""
    found = re.findall(r"\$(\w+)|\{(\w+)", text)
    return [m.load(a or b).version for a, b in found if m.frame.find(a or b) is not None]


def _magic(m: Machine, name: str, line: str, *, text: str, version: int) -> Value:
    if (loaded := m.read_hidden(f"extension {_EXTENSIONS.get(name)}")) is not None:
        m.outcomes.append(loaded)
    if name in {"pylab"}:
        for short, module in (("np", "numpy"), ("plt", "matplotlib.pyplot"), ("pd", "pandas")):
            m.bind(short, imported(m, module, module=True))
        m.anything |= m.bit
    elif name == "capture":
        words = [word for word in line.split() if not word.startswith("-")]
        if words and words[0].isidentifier():
            m.bind(words[0], Value(version))
    elif name == "mlops":
        _mlops(m, line)
    elif name in _SETTING:
        if name == "env" and not line.strip():
            m.note("environment", "depends on the machine: %env")
        else:
            _process(m, name, line.strip(), version)
    elif name in _TEXTS or name in {"pip", "conda", "mamba", "micromamba", "uv", "sql", "store"}:
        files.note_impure(m, known.IMPURE_MAGICS.get(name, "runs a command"), f"%{name} {line}"[:70])
        if name in _TEXTS:
            files.write_file(m, None, version)
    elif name == "writefile":
        files.write_file(m, line.replace("-a ", "").strip() or None, version, more="-a" in line.split())
    elif name in {"run", "load", "loadpy", "rerun", "recall", "macro", "xdel", "reset", "reset_selective", "aimport"}:
        _names(m, name, line, version=version)
    elif name == "timeit" or name in _QUIET:
        _quiet(m, name, line, version)
    else:
        m.step.opaque.append(f"%{name} may set any name")
        everything(m, version, certain=False)
        m.step.guessed = True
    return Value(m.read(version))


def _measured(m: Machine, name: str, line: str) -> None:
    """Code in the line of a magic that measures it."""
    options = _OPTIONS.match(line)
    flags, code = (options[0], line[options.end() :]) if options else ("", line)
    if name == "timeit" and re.search(r"-\w*o", flags):
        m.note("clock", "asks the clock: %timeit -o")
    try:
        body = ast.parse(code).body
    except (SyntaxError, ValueError):
        return
    changed = len(m.step.changed)
    m.follow(body)
    if name == "timeit" and len(m.step.changed) > changed:
        m.note("clock", "runs code as often as time allows, which changes something each time")


def _process(m: Machine, name: str, line: str, version: int) -> None:
    """What a magic does to the process: its folder and its environment."""
    if name in {"env", "set_env"}:
        key, is_set, _ = line.partition("=") if "=" in line else line.partition(" ")
        if not is_set:
            m.outcomes.append(files.variable(m, key))
            return
        m.set_hidden(f"environment {key.strip()}", version, anew=True)
    ordered = name in {"cd", "pushd", "popd"}
    set_setting(m, version, ordered=ordered)
    if ordered:
        files.change_folder(m, line if name != "popd" and line not in {"", "-"} else None, version)


def _quiet(m: Machine, name: str, line: str, version: int) -> None:
    """Magics that set no name; some decide how values are shown, or need what another has loaded."""
    words = line.split()
    if name == "precision" or name in {"pprint", "doctest_mode"}:
        display.set_display(m, f"ipython.{name}", version)
    elif name == "config" and words:
        option, _, setting = line.partition("=")
        root = "matplotlib" if option.startswith("InlineBackend") else "ipython"
        if setting:
            display.set_display(m, f"{root}.{option.strip()}", version)
    elif name in {"time", "timeit", "prun", "memit"}:
        _measured(m, name, line)
    elif name == "matplotlib" and words and words[0] not in {"inline", "--list", "-l"}:
        display.set_display(m, "matplotlib.backend", version)
    elif name == "load_ext" and words:
        m.set_hidden(f"extension {words[0]}", version, anew=True)


def _names(m: Machine, name: str, line: str, *, version: int) -> None:
    """Magics that set or delete names that the line does not tell."""
    words = [word for word in line.split() if not word.startswith("-")]
    if name == "aimport":
        for word in words:
            m.bind(word.strip(",").partition(".")[0], imported(m, word.strip(",").partition(".")[0], module=True))
        return
    if name == "xdel":
        for word in words:
            m.top.names.pop(word, None)
            m.step.deleted[word] = None
        return
    if name == "run" and words:
        path = words[0] if words[0].endswith((".py", ".ipynb", ".ipy")) else f"{words[0]}.py"
        files.read_file(m, path, "%run")
    m.step.opaque.append(f"%{name} {line}".strip()[:60] + " sets names that its line does not tell")
    everything(m, version, certain=name not in {"run"})


def _mlops(m: Machine, line: str) -> None:
    """A line of nbmlops: what it does to the active run, and the names that it uses."""
    try:
        words = shlex.split(line)
    except ValueError:
        words = line.split()
    if not words:
        return
    verb = words[0]
    if verb in {"start", "end", "experiment"} or (verb == "run" and len(words) < 2):
        m.set_hidden(files.RUN, m.versions.of("run", verb), anew=verb == "start")
    elif (bound := m.hidden.get(files.RUN)) is not None:
        m.step.needs |= bound.steps
    if why := read_line(line).impure:
        files.note_impure(m, why.partition(":")[0], f"%mlops {verb}")
    for word in re.findall(r"[A-Za-z_]\w*", line.partition(" ")[2]):
        if m.frame.find(word) is not None:
            m.load(word)


def result(m: Machine, number: int, value: Value) -> None:
    """What a cell shows last is ``_``, ``_3`` and ``Out[3]``."""
    names = m.hidden
    for new, old in (("___", "__"), ("__", "_")):
        if old in names:
            names[new] = names[old]
    bound = m.bound_to(value)
    names["_"] = names[f"_{number}"] = bound
