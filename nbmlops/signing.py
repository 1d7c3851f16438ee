"""Keys of persons and machines (Ed25519): made here, kept in the user's own folder, never in a project or a store.

A key's id is the beginning of its public key's SHA-256. The private key is a PEM file that only its owner can read,
encrypted if ``NBMLOPS_KEY_PASSPHRASE`` is set; ``NBMLOPS_KEY`` names another file.
"""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbmlops import lazy
from nbmlops.errors import InvalidValue, NotFound, StoreFault, UsageFault

KEY, PASSPHRASE = "NBMLOPS_KEY", "NBMLOPS_KEY_PASSPHRASE"
_NAME = "key.pem"
_LARGEST = 1 << 16  # bytes of a key's file


@dataclass(frozen=True)
class Key:
    """A private key that is ready to sign. ``public`` is the raw public key as base64."""

    key_id: str
    public: str
    path: Path
    _private: Any

    def sign(self, text: str) -> str:
        """The signature as base64."""
        return base64.b64encode(self._private.sign(text.encode())).decode()


def folder() -> Path:
    """Where this user's keys are."""
    base = os.environ.get("XDG_CONFIG_HOME") or (os.environ.get("APPDATA") if os.name == "nt" else None)
    return (Path(base) if base else Path.home() / ".config") / "nbmlops"


def new(path: str | os.PathLike[str] | None = None) -> Key:
    """Make a key and write it where only its owner can read it; the public half goes beside it, as ``….pub``.

    Raises:
        UsageFault: there is a key already; it is never written over.
        StoreFault: the folder cannot be written.
    """
    need = _library()
    target = Path(path) if path is not None else folder() / _NAME
    private = need.ed25519.Ed25519PrivateKey.generate()
    passphrase = os.environ.get(PASSPHRASE)
    how = (
        need.serialization.BestAvailableEncryption(passphrase.encode())
        if passphrase
        else need.serialization.NoEncryption()
    )
    content = private.private_bytes(need.serialization.Encoding.PEM, need.serialization.PrivateFormat.PKCS8, how)
    public = _public(private)
    try:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        target.with_suffix(".pub").write_text(public + "\n", encoding="ascii")
    except FileExistsError as error:
        raise UsageFault(f"{target} exists already", "use that key, or name another file") from error
    except OSError as error:
        raise StoreFault(f"{target} cannot be written: {error.strerror}", "name another file") from error
    return Key(key_id(public), public, target, private)


def mine() -> Key | None:
    """The key of this user or machine: the file that ``NBMLOPS_KEY`` names, else the one in the user's folder.

    Raises:
        NotFound: the file that is named does not exist.
        InvalidValue: it is no Ed25519 key, others can read it, or the passphrase is wrong.
        MissingLibrary: there is a key, and ``nbmlops[sign]`` is not installed.
    """
    named = os.environ.get(KEY)
    path = Path(named) if named else folder() / _NAME
    try:
        found = path.stat()
    except OSError as error:
        if named:
            raise NotFound(f"{KEY} names {path}, which cannot be found", "unset it, or name the file") from error
        return None
    return _read(path, found.st_mtime_ns, os.environ.get(PASSPHRASE))


@functools.lru_cache(maxsize=4)
def _read(path: Path, _changed: int, passphrase: str | None) -> Key:
    need = _library()
    found = path.stat()
    if os.name == "posix" and stat.S_IMODE(found.st_mode) & 0o077:
        raise InvalidValue(f"others can read {path}", f"chmod 600 {path}; if they may have read it, make a new key")
    if found.st_size > _LARGEST:
        raise InvalidValue(f"{path} is no key", "nbmlops identity new-key makes one")
    try:
        private = need.serialization.load_pem_private_key(
            path.read_bytes(), passphrase.encode() if passphrase else None
        )
    except (ValueError, TypeError) as error:
        raise InvalidValue(
            f"{path} cannot be read as a key: {error}", f"set {PASSPHRASE} if it is encrypted"
        ) from error
    if not isinstance(private, need.ed25519.Ed25519PrivateKey):
        raise InvalidValue(f"{path} holds no Ed25519 key", "nbmlops identity new-key makes one")
    public = _public(private)
    return Key(key_id(public), public, path, private)


def public_key(text: str) -> str:
    """A public key as base64, as a ``.pub`` file has it.

    Raises:
        InvalidValue: it is none.
    """
    try:
        raw = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidValue("this is no public key", "give the .pub file that nbmlops identity new-key wrote") from error
    if len(raw) != 32:
        raise InvalidValue(f"a public key has 32 bytes, not {len(raw)}", "give an Ed25519 key")
    return base64.b64encode(raw).decode()


def key_id(public: str) -> str:
    """The id of a public key."""
    return hashlib.sha256(base64.b64decode(public)).hexdigest()[:16]


def valid(public: str, text: str, signature: str) -> bool:
    """Whether the owner of a public key has signed a text."""
    need = _library()
    try:
        key = need.ed25519.Ed25519PublicKey.from_public_bytes(base64.b64decode(public))
        key.verify(base64.b64decode(signature, validate=True), text.encode())
    except (need.InvalidSignature, ValueError):  # no base64, or not of the right length, is no signature either
        return False
    return True


def _public(private: Any) -> str:
    need = _library()
    raw = private.public_key().public_bytes(need.serialization.Encoding.Raw, need.serialization.PublicFormat.Raw)
    return base64.b64encode(raw).decode()


@dataclass(frozen=True)
class _Library:
    ed25519: Any
    serialization: Any
    InvalidSignature: Any


@functools.cache
def _library() -> _Library:
    lazy.need("cryptography", "signing", "sign")
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519

    return _Library(ed25519, serialization, InvalidSignature)
