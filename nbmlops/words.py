"""Reading the words of a magic's line: options, pairs, and assignments of Python expressions."""

from __future__ import annotations

import ast
import re
import shlex

from nbmlops.errors import UsageFault


def split_assignments(text: str) -> list[tuple[str, str]]:
    """``lr=0.1 depth=2 * base`` as ``[("lr", "0.1"), ("depth", "2 * base")]``.

    A new assignment begins at ``name=`` outside of brackets and strings where what stands before is a whole
    expression. Names may hold ``.``, ``-`` and ``/``, or be quoted.

    Raises:
        UsageFault: the text does not begin with ``name=``, or an expression is not whole.
    """
    starts = list(re.finditer(r"""(?:^|(?<=\s))(?:"([^"]+)"|'([^']+)'|([\w./\-]+))=(?!=)""", text))
    if text.strip() and (not starts or text[: starts[0].start()].strip()):
        raise UsageFault(f"{text.strip()[:60]!r} is not name=expression", "%mlops param lr=0.1 depth=2*base")
    found: list[tuple[str, str]] = []
    begin = 0
    for place, match in enumerate(starts):
        end = starts[place + 1].start() if place + 1 < len(starts) else len(text)
        if found and not _whole(found[-1][1]):
            name, _ = found.pop()  # `f(a=1 …`: this `name=` stands inside the expression before it
        else:
            name, begin = next(g for g in match.groups() if g), match.end()
        found.append((name, text[begin:end].strip()))
    for name, expression in found:
        if not _whole(expression):
            raise UsageFault(f"{name}={expression} is not a whole expression", "put strings in quotes: name='text'")
    return found


def _whole(expression: str) -> bool:
    try:
        ast.parse(expression, mode="eval")
    except SyntaxError:
        return False
    return True


def take_step(text: str) -> tuple[str, str | None]:
    """The line without ``--step N``, and the N."""
    match = re.search(r"(?:^|\s)--step[= ]\s*(\S+)", text)
    if not match:
        return text, None
    return text[: match.start()] + " " + text[match.end() :], match[1]


def split(line: str) -> list[str]:
    """The words of a line as a shell reads them.

    Raises:
        UsageFault: a quotation mark is not closed.
    """
    try:
        return shlex.split(line)
    except ValueError as error:
        if line.split() and line.split()[0] in {"param", "metric"}:
            return line.split()  # Python expressions need not be shell words
        raise UsageFault(f"cannot read {line!r}: {error}", "close the quotation mark") from error


def options(words: list[str], known: dict[str, bool]) -> tuple[dict[str, list[str]], list[str]]:
    """Options (True: takes a value, may be repeated) and the other words."""
    found: dict[str, list[str]] = {}
    rest: list[str] = []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        name, sign, value = word.partition("=")
        if not word.startswith("-"):
            rest.append(word)
        elif name not in known:
            raise UsageFault(f"no such option {name}", f"there are {', '.join(known)}")
        elif not known[name]:
            found.setdefault(name, [])
        elif sign or queue:
            found.setdefault(name, []).append(value if sign else queue.pop(0))
        else:
            raise UsageFault(f"{name} needs a value", "see %mlops?")
    return found, rest


def first(found: dict[str, list[str]], *names: str) -> str | None:
    """The first value given for an option under any of its names, or None."""
    return next((values[0] for name in names if (values := found.get(name))), None)


def pairs(texts: list[str]) -> dict[str, str]:
    """``name=value`` texts as a dictionary.

    Raises:
        UsageFault: a text has no ``=``.
    """
    found = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign:
            raise UsageFault(f"{text!r} is not name=value", "--tag team=vision")
        found[name] = value
    return found
