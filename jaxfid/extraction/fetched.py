"""Sets by URL: fetched once into the user's cache, and known by a digest that the user gives."""

import pathlib
import re
import urllib.parse

import platformdirs

from jaxfid.errors import InputError, WeightsUnavailableError
from jaxfid.extractors.download import download_once

_SCHEMES = ("https://", "http://")
_DIGEST = re.compile(r"(.*)#sha256=([0-9a-fA-F]{64})")
_FOLDER_DIGITS, _NAME_LENGTH = 16, 100


def is_url(path: object) -> bool:
    """Whether a set is named by the address of a web server."""
    return isinstance(path, str) and path.lower().startswith(_SCHEMES)


def fetch_set(url: str) -> str:
    """Returns the path of the file behind a URL, fetched now where it is not in the cache.

    Args:
      url: `https://host/file#sha256=HEX`; `https://host/ref.pkl#fd_dinov2#sha256=HEX` names one of several
        statistics in the file, and so does the path that comes back.

    Raises:
      InputError: The URL has no digest, or the file cannot be had or has another one.
    """
    found = _DIGEST.fullmatch(url)
    if found is None:
        raise InputError(
            f"{url}: expected the file's digest behind its address, #sha256= and 64 digits: a file of "
            "the web may be another one tomorrow"
        )
    address, mark, group = found[1].partition("#")
    sha256 = found[2].lower()
    target = _cache_dir() / sha256[:_FOLDER_DIGITS] / _file_name(address)
    try:
        download_once(
            address,
            target,
            size_bytes=None,
            sha256=sha256,
            cache=target.parent,
            purpose="a download",
        )
    except WeightsUnavailableError as error:
        raise InputError(str(error)) from error
    return f"{target}{mark}{group}"


def _file_name(address: str) -> str:
    """A name for the cache that keeps the ending, which tells archives from each other."""
    last = urllib.parse.unquote(urllib.parse.urlsplit(address).path).rpartition("/")[2]
    return re.sub(r"[^\w.-]", "_", last).lstrip(".")[-_NAME_LENGTH:] or "file"


def _cache_dir() -> pathlib.Path:
    return pathlib.Path(platformdirs.user_cache_dir("jaxfid")) / "sets"
