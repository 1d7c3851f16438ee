"""Secret values: used by notebooks, named by where they are kept, and masked in everything that is stored.

A secret is named by a *reference*, ``env:NAME`` or ``file:PATH``. Whoever makes a :class:`Secret` makes its value known
to this process; from then on ``scrub`` and its sisters replace the value, in all its usual spellings, by
``[secret env:NAME]``. Every way into the store passes through them. Nothing is paid while no secret is known:
``is_active`` is one look at a dictionary.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import tempfile
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from nbmlops import settings
from nbmlops.errors import InvalidValue, SecretInData
from nbmlops.secrets import spellings
from nbmlops.secrets.told import Told, handed, tell

LARGEST = 1 << 16  # bytes of a file that holds a secret
_REFERENCE = re.compile(r"env:[A-Za-z_]\w*|file:[^\x00-\x1f\x7f]{1,4096}", re.ASCII)
_UNSAFE = re.compile(r"[^A-Za-z0-9_.:/-]")  # in a mask, which may come to stand in HTML, JSON or a path
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_FEW = re.compile(r"[0-9.]{1,11}|[0-9a-f]{1,9}")  # ten thousand digests hold such six hex digits with 3 %
_HINT = "give env:NAME or file:PATH, for example env:API_TOKEN"
# Masking one of these would change what the store itself writes.
_OURS = frozenset({"running", "finished", "failed", "killed", "timeout", "blocked", "secret", "nbmlops", "dataset"})

_lock = threading.Lock()
_masks: dict[str, str] = {}  # what must not be stored, and what stands in its place
_raw: dict[bytes, str] = {}  # the same in bytes, with the reference
_references: dict[str, None] = {}
_children: dict[int, Told] = {}
_pattern: re.Pattern[str] | None = None


class Reference(str):
    """Where a secret is kept: ``env:NAME`` or ``file:PATH``. Holds no value, so it may be stored and shown.

    Raises:
        ValueError: it is neither; what was given is not repeated, for it may be the secret itself.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Reference:
        if isinstance(text, Secret):
            text = text.reference
        if not isinstance(text, str) or not _REFERENCE.fullmatch(text):
            raise ValueError("a secret is named by env:NAME or file:PATH (what was given is not shown)")
        return super().__new__(cls, text)


class Secret(str):
    """A secret value as text: ``nbmlops.Secret("env:API_TOKEN")`` or ``nbmlops.Secret("file:/run/secrets/token")``.

    Code that uses it gets the value. ``repr`` shows the reference; a copy in another process is made anew from it. A
    relative path starts from the project root. One line break at the end of a file does not belong to the value.

    Raises:
        InvalidValue: there is no such variable or file, or the value is too short to be masked without masking
            ordinary text too. The value is in no message.
    """

    reference: str

    def __new__(cls, reference: str) -> Secret:
        try:
            named = Reference(reference)
        except ValueError as error:
            raise InvalidValue(str(error), _HINT) from None
        value = _resolve(named)
        secret = super().__new__(cls, value)
        secret.reference = str(named)
        _register(str(named), value)
        return secret

    def __repr__(self) -> str:
        return f"Secret({self.reference!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Secret, (self.reference,)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return self.__reduce__()

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: Any) -> Secret:
        return self


def fault(reference: str) -> str:
    """Why a reference cannot be resolved here and now; empty if it can. Nothing is kept."""
    try:
        _resolve(Reference(reference))
    except InvalidValue as error:
        return error.message
    return ""


def _resolve(reference: Reference) -> str:
    kind, _, place = reference.partition(":")
    value = _of_variable(place) if kind == "env" else _of_file(place, reference)
    why = _unfit(value, reference)
    if why:
        raise InvalidValue(f"the secret {reference} {why}", "a longer, random value is masked safely")
    return value


def _of_variable(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise InvalidValue(
            f"there is no environment variable {name} for the secret env:{name}", f"set {name} before the start"
        ) from None


def _of_file(place: str, reference: str) -> str:
    path = root() / Path(place).expanduser()
    try:
        if not path.is_file():
            raise FileNotFoundError
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise InvalidValue(f"the file of the secret {reference} has more than {LARGEST:,} bytes", _HINT)
        text = data.decode()
    except FileNotFoundError:
        raise InvalidValue(
            f"there is no file for the secret {reference}", "relative paths start from the project root"
        ) from None
    except UnicodeDecodeError:
        raise InvalidValue(
            f"the file of the secret {reference} is not text", "write it as UTF-8, or in base64"
        ) from None
    except OSError as error:
        raise InvalidValue(
            f"the file of the secret {reference} cannot be read: {error.strerror}", "mend its permissions"
        ) from None
    return text.removesuffix("\n").removesuffix("\r")


def _unfit(value: str, reference: str) -> str:
    """Why a value cannot be masked: it would be found in texts that have nothing to do with it."""
    if not value.strip():
        return "is empty"
    if len(value.strip()) < spellings.LEAST:
        return f"has fewer than {spellings.LEAST} characters, which are found in ordinary texts too"
    if len(set(value.strip())) == 1:
        return "is one character repeated, which is found in ordinary texts too"
    if _FEW.fullmatch(value.strip()):
        return "is found in numbers and digests by chance"
    if value in reference or value in _mask(reference) or value.lower() in _OURS:
        return "is a word that is written by nbmlops itself"
    return ""


def root() -> Path:
    """Where relative paths of secrets start: the project root, or that of the pipeline which started this process."""
    return Path(handed().get("root") or settings.project_root())


# --- what is known ------------------------------------------------------------------------------------------------
def is_active() -> bool:
    """Whether any secret is known in this process."""
    return bool(_masks)


def learn(value: Any) -> None:
    """Make known what the references in a value (also in lists and dictionaries) stand for.

    Raises:
        InvalidValue: one cannot be resolved.
    """
    for reference in references(value):
        Secret(reference)


def references(value: Any) -> Iterator[Reference]:
    """The references in a value."""
    if isinstance(value, Secret | Reference):
        yield Reference(value)
    elif isinstance(value, dict):
        for item in (*value, *value.values()):
            yield from references(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from references(item)


@contextlib.contextmanager
def child() -> Iterator[Told]:
    """For a process that is started: its variable, and where it tells of the secrets that it makes; see ``told``."""
    with tempfile.TemporaryDirectory(prefix="nbmlops-", ignore_cleanup_errors=True) as folder:
        told = Told(folder, _references, str(root()))
        _children[id(told)] = told
        try:
            yield told
        finally:
            del _children[id(told)]


def hear() -> None:
    """Learn the secrets that child processes have made until now."""
    for told in list(_children.values()):
        strange(told)


def strange(told: Told) -> list[str]:
    """Learn what a child process has told; returns the references that have no value here, or another.

    Their values cannot be masked here: what the child showed must not be kept.
    """
    found = []
    for reference, proofs in told.made().items():
        try:
            same = told.is_same(Secret(reference), proofs)
        except InvalidValue:
            same = False
        if not same:
            found.append(reference)
    return found


def inherit() -> None:
    """Learn the secrets that the pipeline of this process knows; what cannot be resolved here cannot leak from here."""
    for reference in handed().get("references", ()):
        if reference not in _references:
            with contextlib.suppress(InvalidValue):
                Secret(reference)


def refuse(texts: Iterable[str], what: str) -> None:
    """For names, which cannot be masked.

    Raises:
        SecretInData: one of the texts holds a secret.
    """
    if is_active():
        for text in texts:
            if (reference := find(text.encode("utf-8", "surrogatepass"))) is not None:
                raise SecretInData.of(what, reference)


def forget() -> None:
    """Forget every secret. For tests: what was masked until now is so no more."""
    global _masks, _raw, _references, _pattern
    with _lock:
        _masks, _raw, _references, _pattern = {}, {}, {}, None


def _register(reference: str, value: str) -> None:
    """Others may be reading: they see all of a secret or nothing of it."""
    global _masks, _raw, _references, _pattern
    with _lock:
        new = {text: _mask(reference) for text in spellings.texts(value)}
        if reference in _references and new.keys() <= _masks.keys():
            return
        masks = {**new, **_masks}
        longest = sorted(masks, key=len, reverse=True)
        raw = {text.encode("utf-8", "surrogatepass"): reference for text in new}
        raw |= dict.fromkeys(spellings.wide(value), reference)
        _raw, _references = {**raw, **_raw}, {**_references, reference: None}
        _masks = {text: masks[text] for text in longest}
        _pattern = re.compile("|".join(map(re.escape, longest)))
    tell(reference, value)
    for name in {"nbmlops.notebook", *(n for n in logging.root.manager.loggerDict if n.startswith("nbmlops"))}:
        logging.getLogger(name).addFilter(_mask_record)


def _mask(reference: str) -> str:
    return f"[secret {_UNSAFE.sub('_', reference)}]"


def _mask_record(record: logging.LogRecord) -> bool:
    """Filter of nbmlops' own loggers: the message with its arguments, and the traceback."""
    if is_active():
        record.msg, record.args = scrub_text(record.getMessage()), None
        if record.exc_info:
            record.exc_text = scrub_text(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
    return True


# --- masking ------------------------------------------------------------------------------------------------------
def scrub_text(text: str) -> str:
    """The text without secrets. JSON stays JSON; colour codes are dropped where they hide one."""
    if not _masks:
        return text
    if "\x1b[" in text and _hit(plain := _ANSI.sub("", text)) and not _hit(text):
        text = plain
    if not _hit(text):
        return text
    masked = _replaced(text)
    if text[:1] in '{["' and not _is_json(masked):
        with contextlib.suppress(ValueError, RecursionError):
            return json.dumps(scrub(json.loads(text)), ensure_ascii=False)
    return masked


def scrub_pieces(pieces: Sequence[str]) -> list[str]:
    """Texts that are read one after the other: also what begins in one and ends in another is masked."""
    if not _masks:
        return list(pieces)
    joined, done, start = "".join(pieces), [], 0
    spans = list(_spans(joined)) if _hit(joined) else []
    for piece in pieces:
        end, at, text = start + len(piece), start, ""
        for first, last, mask in spans:
            if first < end and last > start:
                if first >= start:
                    text += joined[at:first] + mask
                at = min(last, end)
        done.append(scrub_text(text + joined[at:end]))
        start = end
    return done


def scrub(value: Any) -> Any:
    """A JSON-like value without secrets: texts, keys, and numbers that are written as one."""
    if not _masks:
        return value
    if isinstance(value, str):
        return scrub_text(value)
    if isinstance(value, dict):
        return {scrub(k): scrub(v) for k, v in value.items()}
    if isinstance(value, tuple) and type(value) is not tuple:
        return type(value)(*map(scrub, value))
    if isinstance(value, list | tuple):
        return type(value)(map(scrub, value))
    if isinstance(value, bytes | bytearray | memoryview):
        return scrub_bytes(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _masks.get(repr(value), value)
    return value


def scrub_bytes(data: bytes | bytearray | memoryview) -> bytes:
    """Text in bytes without secrets.

    Raises:
        SecretInData: they are not text, and hold a secret: to mask it would damage them.
    """
    held = bytes(data)
    if not _masks:
        return held
    if b"\0" not in held:
        with contextlib.suppress(UnicodeDecodeError):
            return scrub_text(held.decode()).encode()
    if (reference := find(held)) is not None:
        raise SecretInData.of("binary data", reference)
    return held


def find(data: bytes) -> str | None:
    """The reference of a secret that is in the bytes as it is, or None. Compressed bytes must be unpacked first."""
    return next((reference for needle, reference in _raw.items() if needle in data), None)


def longest() -> int:
    """The bytes of the longest spelling: how much two windows of a long stream must share."""
    return max(map(len, _raw), default=0)


def _hit(text: str) -> bool:
    return any(needle in text for needle in _masks)


def _spans(text: str) -> Iterable[tuple[int, int, str]]:
    if _pattern is not None:
        for match in _pattern.finditer(text):
            yield match.start(), match.end(), _masks[match[0]]


def _replaced(text: str) -> str:
    return text if _pattern is None else _pattern.sub(lambda match: _masks[match[0]], text)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
