"""Faults of a remote file system: which pass, which do not, what to do about them, and trying again.

Every fsspec implementation raises its own library's errors. They are told apart without importing any of those
libraries: by HTTP status or S3 code, by ``errno``, by the name of the class or of one of its bases.
"""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from nbmlops.errors import MissingLibrary, NbmlopsError, StoreFault, StoreReadOnly

T = TypeVar("T")

_PASSING_STATUS = {408, 425, 429, 500, 502, 503, 504}
_PASSING_CODES = {"InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown", "Throttling", "OperationAborted"}
_PASSING_ERRNO = {
    errno.EAGAIN, errno.EBUSY, errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH,
    errno.EINTR, errno.ENETRESET, errno.ENETUNREACH, errno.EPIPE, errno.ETIMEDOUT,
    getattr(errno, "EREMOTEIO", errno.EAGAIN),
}  # fmt: skip
# Of botocore, aiohttp, requests, http.client, urllib3, google.auth, azure.core and paramiko; bases come along.
_PASSING_CLASSES = {
    "ConnectionError", "TimeoutError", "HTTPClientError", "IncompleteRead", "IncompleteReadError",
    "ResponseParserError", "ClientConnectionError", "ClientPayloadError", "TransportError", "ServiceRequestError",
    "ServiceResponseError", "ResponseStreamingError", "ProtocolError", "SSHException", "ChecksumError",
    "FlexibleChecksumError", "ContentLengthError",
}  # fmt: skip
_NO_KEYS = {"NoCredentialsError", "PartialCredentialsError", "NoAuthTokenError", "DefaultCredentialsError",
            "ProfileNotFound", "CredentialRetrievalError", "TokenRetrievalError"}  # fmt: skip
_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound"}


@dataclass(frozen=True)
class Patience:
    """How long a fault that may pass is waited for: at most ``tries``, at most ``total`` seconds in all.

    The wait before try n+1 is ``first`` * 2 ** n, at most ``longest``, times a random factor of 0.5 to 1, so that
    workers that failed together do not return together.
    """

    tries: int = 6
    first: float = 0.2
    longest: float = 10.0
    total: float = 120.0

    def waits(self) -> Iterator[float]:
        end = time.monotonic() + self.total
        for turn in range(self.tries - 1):
            wait = min(self.longest, self.first * 2**turn) * random.uniform(0.5, 1)
            if time.monotonic() + wait > end:
                return
            yield wait


def retrying(action: Callable[[], T], *, patience: Patience, url: str) -> T:
    """The result of ``action``, tried again after faults that may pass.

    Raises:
        FileNotFoundError: as ``action`` raised it; it is an answer.
        StoreFault: a fault that does not pass, or did not; names the URL, the tries and the last fault.
    """
    began, tries = time.monotonic(), 0
    waits = patience.waits()
    while True:
        tries += 1
        try:
            return action()
        except (FileNotFoundError, NbmlopsError) as error:
            if _code(error) in _NO_BUCKET:
                raise no_bucket(url) from error
            raise
        except Exception as error:  # libraries without a common base; an unknown one is raised again as it is
            if not passes(error):
                raise lasting(error, url) from error
            wait = next(waits, None)
            if wait is None:
                raise StoreFault(
                    f"{url} did not answer as it should: {tries} tries in {time.monotonic() - began:.1f} s,"
                    f" the last: {told(error)}",
                    "see whether the service can be reached, then repeat: what has arrived is not sent again",
                ) from error
        time.sleep(wait)


def passes(error: BaseException) -> bool:
    """Whether trying again may help."""
    if {c.__name__ for c in type(error).__mro__} & _NO_KEYS or isinstance(error, PermissionError):
        return False
    if {c.__name__ for c in type(error).__mro__} & _PASSING_CLASSES:
        return True  # first: aiohttp gives an answer that was cut off the status 400
    status, code = _status(error), _code(error)
    if status or code:
        return status in _PASSING_STATUS or code in _PASSING_CODES
    return isinstance(error, OSError) and error.errno in _PASSING_ERRNO


def lasting(error: Exception, url: str) -> Exception:
    """A fault that will not pass, with what to set; an error that no service made is returned as it is."""
    names = {c.__name__ for c in type(error).__mro__}
    if names & _NO_KEYS:
        return StoreFault(f"{url} needs credentials, and none were found", _keys_hint(url))
    status = _status(error)
    if isinstance(error, PermissionError) or status in {401, 403}:
        return StoreReadOnly(f"{url} refuses access: {told(error)}", _keys_hint(url))
    if isinstance(error, ImportError):
        extra = "s3" if url.startswith("s3") else "all"
        return MissingLibrary.of(error.name or "an fsspec file system", f"the store {url}", extra)
    if status or isinstance(error, OSError) or type(error).__module__.partition(".")[0] in {"botocore", "aiohttp"}:
        return StoreFault(f"{url} failed: {told(error)}", "check NBMLOPS_ARTIFACTS and the settings of its file system")
    return error


def no_bucket(url: str) -> StoreFault:
    return StoreFault(
        f"there is no bucket {url.partition('://')[2].split('/')[0]!r} for {url}",
        "make the bucket, or mend NBMLOPS_ARTIFACTS",
    )


def told(error: BaseException) -> str:
    """One line about an error: code or class, and what it says."""
    text = " ".join(str(error).split()) or "no message"
    return f"{_code(error) or type(error).__name__}: {text[:200]}"


def _keys_hint(url: str) -> str:
    if url.startswith("s3"):
        return (
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE (AWS_ENDPOINT_URL if it is not Amazon's);"
            " they must allow GetObject, PutObject, DeleteObject and ListBucket there"
        )
    return f"give the file system of {url.partition('://')[0]}:// its credentials, as its fsspec documentation says"


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    for _ in range(4):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__


def _response(error: BaseException) -> dict[str, Any]:
    """What botocore keeps of an answer; s3fs's own errors have it as their cause."""
    for one in _chain(error):
        found = getattr(one, "response", None)
        if isinstance(found, dict):
            return found
    return {}


def _code(error: BaseException) -> str:
    code = str(_response(error).get("Error", {}).get("Code", ""))
    return "" if code.isdigit() else code


def _status(error: BaseException) -> int:
    status = _response(error).get("ResponseMetadata", {}).get("HTTPStatusCode")
    for one in _chain(error):
        for name in ("status", "status_code", "code"):
            status = status or getattr(one, name, None)
    try:
        return int(status or 0)
    except (TypeError, ValueError):
        return 0
