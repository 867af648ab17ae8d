"""Images that are files with names, in a folder or an archive: which of the names are images of the set."""

import abc
import functools
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence

import numpy as np
from jaxtyping import UInt8

from jaxfid.errors import InputError
from jaxfid.images.decode import decode_image
from jaxfid.images.formats import (
    IMAGE_EXTENSIONS,
    has_image_extension,
    is_hidden_name,
    is_image_name,
    is_service_folder,
    recognise_format,
)
from jaxfid.images.interface import ImageSource, name_some
from jaxfid.images.labels import DATASET_JSON, Files, find_labels, split_name

_MAX_VIEWS = 16  # more endings than these are names of images, as in `model.step_1000.png`

ALL_IMAGES = "*"
"""What `image_key` is for every image of every sample."""

# Not all: a caption beside each image would make opening a set as slow as reading it.
_HEADS_OF_AN_ENDING = 100

# `left.png` of `x.left.png`: parts that begin with a letter. `0001.png` of `clip.0001.png` is a number, and
# `95_1.png` of `at_0.95_1.png` a piece of one.
_VIEW = re.compile(r"[A-Za-z][^.]*(\.[A-Za-z][^.]*)*")


class ListedSource(ImageSource):
    """The image files among some files, in the order of their keys.

    Left out are names that are hidden (a dot in front), folders that systems keep for themselves, and
    files whose ending, in any case of letters, is not an image's. A file that begins as an image does
    and is not named as one is an error: to leave it out and to score it would both be a guess. Of files
    with the same ending, which are mostly of a kind, the first 100 are looked at.
    """

    def __init__(
        self,
        names: Collection[str],
        *,
        name: str,
        image_key: str | None,
        are_samples: bool = False,
        remarks: Sequence[str] = (),
    ) -> None:
        """Chooses among the names of files.

        Args:
          names: All of them, each once, in any order.
          name: What the user called the source.
          image_key: The ending of a sample's image after the first dot of its name, such as `left.png`;
            `ALL_IMAGES` for all; None where samples have one.
          are_samples: Whether files with the same name up to its first dot are one sample, of which several
            images are an error without `image_key` and a `.cls` or `.json` file is the class.
          remarks: What is known already of the listing.

        Raises:
          InputError: No name is an image's; a sample has several; a file is an image by its content
            alone.
        """
        self.name = name
        keys = [key for key in names if is_image_name(key)]
        if not keys:
            raise InputError(f"{name}: {describe_no_images(names)}")
        self.keys = sorted(keys if image_key is None else _choose(keys, image_key, name))
        self.others = list_others(names, set(self.keys))
        views = _find_views(keys) if image_key is None else []
        if views and are_samples:
            raise InputError(
                f"{name}: expected one image in each sample, found several: {', '.join(views)}; choose "
                f"with image_key={views[0]!r}, or image_key={ALL_IMAGES!r} for all"
            )
        self.remarks = [*remarks, *_describe_views(views), *describe_others(self.others)]
        self._names = frozenset(names)
        self._are_samples = are_samples
        self._refuse_disguised()

    @functools.cached_property
    def labels(self) -> Sequence[str] | None:  # type: ignore[override]
        """Classes by what lies beside the images, else their folders; looked at late: files are read."""
        files = Files(self.keys, self._names, self.read_content, self.inner_name, self.locate)
        return find_labels(files, are_samples=self._are_samples)

    def read(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """Returns the decoded file at a position."""
        key = self.keys[index]
        return decode_image(self.read_content(key), self.locate(key))

    @abc.abstractmethod
    def read_content(self, key: str) -> bytes:
        """Returns a file's bytes, checked by what the archive keeps of them."""

    @abc.abstractmethod
    def read_head(self, key: str) -> bytes:
        """Returns the first bytes of a file, for `recognise_format`; none where they are costly."""

    @abc.abstractmethod
    def locate(self, key: str) -> str:
        """Returns what an error calls a file."""

    def inner_name(self, key: str) -> str:
        """Returns a file's path below the root that classes are folders of."""
        return key

    def _refuse_disguised(self) -> None:
        found, looked_at = [], Counter()
        for key in self.others:
            if key.endswith("/") or is_hidden_name(key) or has_image_extension(key):
                continue
            looked_at[_ending(key)] += 1
            # A few of each ending tell what it is; reading every head would cost a pass over the set.
            if looked_at[_ending(key)] > _HEADS_OF_AN_ENDING:
                continue
            if kind := recognise_format(self.read_head(key)):
                found.append(f"{key} ({kind})")
        if found:
            raise InputError(
                f"{self.name}: expected images to be named as such, found by their content "
                f"{name_some(found)}; give them their extension, or move them elsewhere"
            )


def describe_no_images(names: Collection[str]) -> str:
    """Returns what an error says of a listing without images."""
    if not names:
        return "expected images, found nothing in it"
    return (
        f"expected images, found {len(names)} other files, such as {min(names)}; "
        f"images are known by their extension ({', '.join(sorted(IMAGE_EXTENSIONS))})"
    )


def _choose(keys: Iterable[str], image_key: str, name: str) -> list[str]:
    keys = list(keys)
    if image_key == ALL_IMAGES:
        return keys
    chosen = [key for key in keys if split_name(key).ending.lower() == image_key.lower()]
    if not chosen:
        found = name_some(sorted({split_name(key).ending for key in keys}))
        raise InputError(f"{name}: image_key: expected one of {found}, found {image_key}")
    return chosen


def _find_views(keys: Iterable[str]) -> list[str]:
    """The endings of the images of samples that have several."""
    endings: defaultdict[str, list[str]] = defaultdict(list)
    for key in keys:
        sample = split_name(key)
        if _VIEW.fullmatch(sample.ending):
            endings[sample.key].append(sample.ending)
    views = {ending for of in endings.values() if len(of) > 1 for ending in of}
    return sorted(views) if len(views) <= _MAX_VIEWS else []


def _describe_views(views: Sequence[str]) -> list[str]:
    if not views:
        return []
    return [
        f"several images differ only in what follows the first dot of their names ({', '.join(views)}): all "
        f"are scored; if one of each is meant, choose it with image_key={views[0]!r}"
    ]


def list_others(names: Iterable[str], chosen: Collection[str]) -> list[str]:
    """Returns the names not chosen; of a hidden or service folder its name alone, with a slash behind it."""
    left = {_visible_part(name) for name in names if name not in chosen}
    return sorted(left - {DATASET_JSON})  # which is read for its labels


def _visible_part(name: str) -> str:
    parts = name.split("/")
    for depth, part in enumerate(parts[:-1], 1):
        if part.startswith(".") or is_service_folder(part):
            return "/".join(parts[:depth]) + "/"
    return name


def describe_others(others: Sequence[str]) -> list[str]:
    """Returns what to say of files that are not scored."""
    folders = [name for name in others if name.endswith("/")]
    files = [name for name in others if not name.endswith("/")]
    remarks = []
    if folders:
        remarks.append(f"{_count(folders, 'folder')} left out with all in it: {name_some(folders)}")
    if files:
        remarks.append(f"{_count(files, 'other file')} not scored: {_name_kinds(files)}")
    return remarks


def _count(names: Sequence[str], noun: str) -> str:
    return f"{len(names)} {noun}{'s' if len(names) > 1 else ''}"


def _name_kinds(files: Sequence[str]) -> str:
    """The names; of many files how many of each ending, and one of them."""
    if len(files) <= 10:
        return ", ".join(files)
    kinds = Counter(_ending(name) for name in files)
    first = {_ending(name): name for name in reversed(files)}
    return ", ".join(f"{count} {kind} ({first[kind]})" for kind, count in kinds.most_common(10))


def _ending(name: str) -> str:
    _, dot, ending = name.rpartition("/")[2].rpartition(".")
    return dot + ending if dot else "without extension"
