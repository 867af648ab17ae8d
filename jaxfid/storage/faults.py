"""What can go wrong with a place far away: which faults pass by themselves, and a sentence for each other.

Each library that serves a place has errors of its own. They are told apart here, and nowhere else.
"""

import errno
import json

from jaxfid.errors import JaxfidError

_REMEDIES = {
    "s3": "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
    "gs": "run `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or run `az login`",
}
_FAMILIES = {"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az"}

_NO_ACCESS_CODES = (401, 403)
_PASSING_CODES = (408, 429)  # too slow, too many requests; from 500 on the server is at fault
# Their classes are in packages that may not be installed.
_NO_ACCESS_NAMES = ("Credential", "Authentication", "RefreshError", "ProfileNotFound")
_FINAL = (
    *(FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError, PermissionError),
    *(JaxfidError, NotImplementedError, ImportError, TypeError, AttributeError, LookupError),
)


class AccessError(JaxfidError, PermissionError):
    """A place refuses this user, or does not know who asks. Exit code 2.

    No `InputError`, so that `--on-error skip` does not leave out the images of a login that ran out.
    """

    exit_code = 2


class UnreachableError(JaxfidError, ConnectionError):
    """A place did not answer, however often it was asked."""


def family(scheme: str) -> str:
    """Returns the one name of a kind of bucket that has several."""
    return _FAMILIES.get(scheme, scheme)


def is_bucket(scheme: str) -> bool:
    """Whether a scheme is one of buckets, whose folders are parts of names."""
    return family(scheme) in _REMEDIES


def is_passing(error: Exception) -> bool:
    """Whether a fault may be gone when one asks again: a connection that broke, a busy server."""
    if isinstance(error, _FINAL) or _is_no_access(error):
        return False
    if isinstance(error, ValueError) or "Validation" in type(error).__name__:
        return isinstance(
            error, json.JSONDecodeError
        )  # half of an answer; else an argument is wrong
    code = _code(error)
    if code is not None and 400 <= code < 500:
        return code in _PASSING_CODES
    # s3fs says so of a range that an object does not have.
    return not (isinstance(error, OSError) and error.errno == errno.EINVAL)


def explain(error: Exception, url: str) -> Exception:
    """Returns the error that a user is to see of a fault that does not pass.

    Args:
      error: What the library raised.
      url: What was asked for.
    """
    if _is_no_access(error):
        remedy = _REMEDIES.get(family(url.partition("://")[0]))
        return AccessError(f"{url}: no access: {_text(error)}{f'; {remedy}' if remedy else ''}")
    if isinstance(error, FileNotFoundError) or _code(error) == 404:
        return FileNotFoundError(errno.ENOENT, "nothing there", url)
    return error


def give_up(error: Exception, url: str, tries: int, seconds: float) -> UnreachableError:
    """Returns the error that a user is to see of a fault that stayed."""
    tried = f"{tries} tries in {seconds:.0f} s"
    return UnreachableError(f"{url}: no answer after {tried}: {_text(error)}")


def _is_no_access(error: Exception) -> bool:
    if isinstance(error, ValueError):  # what adlfs says of an account that is not given
        return "credentials" in str(error)
    named = any(part in type(error).__name__ for part in _NO_ACCESS_NAMES)
    named = named or str(error).startswith("Forbidden: ")  # gcsfs has no class for it
    return named or isinstance(error, PermissionError) or _code(error) in _NO_ACCESS_CODES


def _code(error: Exception) -> int | None:
    """The status of HTTP, which each library keeps under another name."""
    codes = (getattr(error, name, None) for name in ("code", "status", "status_code"))
    return next((code for code in codes if isinstance(code, int)), None)


def _text(error: Exception) -> str:
    """What an error says, on one line; its kind where it says nothing."""
    reason = getattr(error, "strerror", None) or str(error)
    return " ".join(reason.split())[:300] or type(error).__name__
