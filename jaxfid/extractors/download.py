"""Fetches one file whose size and digest are known, over connections that break."""

import contextlib
import http.client
import pathlib
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import tqdm

from jaxfid.errors import WeightsUnavailableError
from jaxfid.storage.digests import digest_file
from jaxfid.storage.files import append_file, move_file
from jaxfid.storage.locks import lock

_CHUNK_BYTES = 1 << 18
_RETRIED_STATUS = frozenset({408, 425, 429})


class _BrokenTransferError(Exception):
    """The connection or the server failed in a way that another try may mend."""


class _UnreachableError(_BrokenTransferError):
    """No connection could be made."""


class _RangeRefusedError(_BrokenTransferError):
    """The server cannot go on where the part ends."""


def download(
    url: str,
    destination: pathlib.Path,
    *,
    size_bytes: int | None,
    sha256: str,
    attempts: int = 5,
    backoff_s: float = 1.0,
    timeout_s: float = 20.0,
) -> None:
    """Leaves the file at `destination`, which exists only once size and digest are right.

    What has come lies in `destination` + ".part" until then, and a later try, or a later call,
    goes on from there where the server can. Proxies come from the environment, as `urllib` does.

    Args:
      url: Where the file lies.
      destination: Where it goes; its folder exists.
      size_bytes: Its size; None takes the one that the server announces.
      sha256: Its digest in hexadecimal.
      attempts: Tries before giving up, when the server errs or the connection breaks.
      backoff_s: Wait before the second try; it doubles with each.
      timeout_s: Longest silence of the connection.

    Raises:
      WeightsUnavailableError: The server cannot be reached or does not have the file, every try
        broke off, or the file is another one than expected.
    """
    part = destination.with_name(destination.name + ".part")
    for attempt in range(attempts):
        try:
            _transfer(url, part, size_bytes, timeout_s)
            break
        except _BrokenTransferError as error:
            # Without a network, waiting and trying again only annoys.
            offline = attempt == 0 and isinstance(error, _UnreachableError)
            if offline or attempt == attempts - 1:
                raise WeightsUnavailableError(
                    f"{url}: {error} (try {attempt + 1} of {attempts}; "
                    f"{_size_bytes(part)} of {size_bytes or 'all'} bytes are kept for the next call)"
                ) from error
            time.sleep(backoff_s * 2**attempt)
    # Under its final name a file is always the right one.
    _check_digest(url, part, sha256)
    move_file(part, destination)


def download_once(
    url: str,
    target: pathlib.Path,
    *,
    size_bytes: int | None,
    sha256: str,
    cache: pathlib.Path,
    purpose: str,
) -> None:
    """Leaves the file at `target` of a cache, downloaded now if it does not lie there intact.

    Of several processes one downloads and the others wait.

    Args:
      url: Where the file lies.
      target: Where it goes.
      size_bytes: As in `download`.
      sha256: Likewise.
      cache: The folder that is locked meanwhile.
      purpose: What the lock is for, in words.

    Raises:
      WeightsUnavailableError: As `download`.
      InputError: The folder cannot be locked.
    """
    with lock(cache, purpose, wait=True):
        # Looked at under the lock: the process that was waited for may have brought it. Read at every use: a
        # file of the cache may have been changed since.
        if not target.exists() or digest_file(target) != sha256:
            target.parent.mkdir(parents=True, exist_ok=True)
            download(url, target, size_bytes=size_bytes, sha256=sha256)


def _check_digest(url: str, part: pathlib.Path, sha256: str) -> None:
    found = digest_file(part)
    if found != sha256:
        part.unlink()
        raise WeightsUnavailableError(
            f"{url}: expected sha256 {sha256}, found {found}; the file was deleted. Try again, and "
            "if it stays so, fetch the file by another way and name it (weights: `jaxfid weights import`)"
        )


def _transfer(url: str, part: pathlib.Path, known_bytes: int | None, timeout_s: float) -> None:
    """Brings the part to its full size, or raises with what has come kept."""
    start = _size_bytes(part)
    if start == known_bytes:  # a call was killed between the last byte and the check
        return
    try:
        response = _open(url, start, timeout_s)
        size_bytes = known_bytes or _announced_size(url, response, start)
        start = _find_start(response, start, size_bytes)
    except _RangeRefusedError:
        part.unlink(missing_ok=True)
        raise
    with contextlib.closing(response):
        _check_length(url, response, size_bytes - start)
        with append_file(part) as file, _progress(part, start, size_bytes) as bar:
            file.truncate(start)  # to nothing where the server sends the whole file again
            for chunk in _read_chunks(response, size_bytes - start):
                file.write(chunk)
                bar.update(len(chunk))
    found = _size_bytes(part)
    if found < size_bytes:
        raise _BrokenTransferError(f"the connection ended after {found} of {size_bytes} bytes")


def _size_bytes(part: pathlib.Path) -> int:
    return part.stat().st_size if part.exists() else 0


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to a connection that anyone on the way can answer."""

    def redirect_request(  # the names are urllib's
        self,
        req: urllib.request.Request,
        fp: Any,  # noqa: ANN401
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """Returns the request to the new place."""
        if req.type == "https" and not newurl.lower().startswith("https://"):
            raise WeightsUnavailableError(
                f"{req.full_url}: redirected from https to {newurl:.200}, which is refused"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str, start: int, timeout_s: float) -> http.client.HTTPResponse:
    request = urllib.request.Request(url, headers={"User-Agent": "jaxfid"})
    if start:
        request.add_header("Range", f"bytes={start}-")
    opener = urllib.request.build_opener(_NoDowngrade)  # `urlopen` keeps its first call's proxies
    try:
        return opener.open(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        error.close()
        reason = f"the server answered {error.code} {error.reason}"
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise _RangeRefusedError(reason) from error
        if error.code >= 500 or error.code in _RETRIED_STATUS:
            raise _BrokenTransferError(reason) from error
        raise WeightsUnavailableError(f"{url}: {reason}") from error
    except urllib.error.URLError as error:
        raise _UnreachableError(f"the server cannot be reached: {error.reason}") from error
    except (OSError, http.client.HTTPException) as error:
        raise _BrokenTransferError(f"the connection broke: {error}") from error


def _announced_size(url: str, response: http.client.HTTPResponse, start: int) -> int:
    """The file's size as the server says; one that says none could send for ever."""
    part_bytes = response.length
    if part_bytes is None:
        response.close()
        raise WeightsUnavailableError(f"{url}: expected a server that says the size of the file")
    is_part = response.status == http.HTTPStatus.PARTIAL_CONTENT
    return part_bytes + start if is_part else part_bytes


def _find_start(response: http.client.HTTPResponse, start: int, size_bytes: int) -> int:
    """The byte at which the answer begins: the one asked for, or 0 when it is the whole file."""
    if response.status != http.HTTPStatus.PARTIAL_CONTENT:
        return 0
    content_range = response.headers.get("Content-Range", "")
    found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", content_range.strip())
    if not found or int(found[1]) != start or found[2] not in (str(size_bytes), "*"):
        response.close()
        raise _RangeRefusedError(f"asked for bytes from {start}, the server sent {content_range!r}")
    return start


def _check_length(url: str, response: http.client.HTTPResponse, expected: int) -> None:
    """A page that stands in for the file (a login, an error) is seen before it is stored."""
    if response.length is not None and response.length != expected:
        raise WeightsUnavailableError(
            f"{url}: expected {expected} bytes, the server offers {response.length}; something on "
            "the way (a proxy, a login page) answers in its place"
        )


def _read_chunks(response: http.client.HTTPResponse, limit: int) -> Iterator[bytes]:
    while limit > 0:
        try:
            chunk = response.read1(min(_CHUNK_BYTES, limit))  # `read` loses what a cut leaves
        except (OSError, http.client.HTTPException) as error:
            raise _BrokenTransferError(f"the connection broke: {error}") from error
        if not chunk:
            return
        limit -= len(chunk)
        yield chunk


def _progress(part: pathlib.Path, start: int, size_bytes: int) -> tqdm.tqdm:
    return tqdm.tqdm(
        desc=part.stem,
        total=size_bytes,
        initial=start,
        unit="B",
        unit_scale=True,
        file=sys.stderr,
    )
