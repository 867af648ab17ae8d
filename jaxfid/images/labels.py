"""Classes of images by what lies beside them: StyleGAN's dataset.json, WebDataset's members, folders."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from jaxfid.errors import InputError
from jaxfid.images.interface import name_some

DATASET_JSON = "dataset.json"

_JSON_KEYS = ("label", "cls", "class")


class Sample(NamedTuple):
    """A file's name in two parts, as WebDataset does it.

    Attributes:
      key: All before the first dot after the last slash.
      ending: All after that dot.
    """

    key: str
    ending: str


def split_name(name: str) -> Sample:
    """Returns a name as sample and ending; `x/0001.left.png` is `x/0001` and `left.png`."""
    folder, slash, base = name.rpartition("/")
    stem, _, ending = base.partition(".")
    return Sample(folder + slash + stem, ending)


class Files(NamedTuple):
    """The files of a set.

    Attributes:
      keys: The images.
      names: All files.
      read: From a file's name to its bytes.
      inner: From a key to the path that folders are taken of.
      locate: From a file's name to what an error calls it.
    """

    keys: Sequence[str]
    names: Collection[str]
    read: Callable[[str], bytes]
    inner: Callable[[str], str]
    locate: Callable[[str], str]


def find_labels(files: Files, *, are_samples: bool) -> list[str] | None:
    """Returns the class of each image, or None where nothing tells one.

    The first of these that is there:

    * `dataset.json` at the root, as StyleGAN and EDM keep it: then folders are for storage only, and a
      data set whose `labels` are null has no classes;
    * of samples a `.cls` or `.json` file of each, as WebDataset keeps them (of a `.json` its `label`,
      `cls` or `class`);
    * the images' folders.

    Args:
      files: The files of the set.
      are_samples: Whether files with the same name up to its first dot are one sample.

    Raises:
      InputError: A file of labels is not what it should be.
    """
    if DATASET_JSON in files.names:
        name = files.locate(DATASET_JSON)
        content = _parse_json(files.read(DATASET_JSON), name)
        if isinstance(content, Mapping) and "labels" in content:
            return _labels_of_dataset(content["labels"], files.keys, name)
    labels = _labels_of_samples(files) if are_samples else None
    return labels or folder_labels([files.inner(key) for key in files.keys])


def folder_labels(names: Sequence[str]) -> list[str] | None:
    """Returns each name's folder ("" at the root), or None where all lie at the root."""
    kept: dict[str, str] = {}
    labels = [kept.setdefault(label, label) for label in (n.rpartition("/")[0] for n in names)]
    return labels if any(kept) else None


def _labels_of_dataset(pairs: Any, keys: Sequence[str], name: str) -> list[str] | None:  # noqa: ANN401
    if pairs is None:
        return None
    try:
        labels = {key: _class_name(label) for key, label in pairs}
    except (TypeError, ValueError) as error:
        expected = "expected labels to be pairs of a file's name and its class"
        raise InputError(f"{name}: {expected}, found {error}") from error
    if missing := [key for key in keys if key not in labels]:
        raise InputError(
            f"{name}: expected a label of every image, found none of {name_some(missing)}"
        )
    return [labels[key] for key in keys]


def _class_name(label: Any) -> str:  # noqa: ANN401
    """A class as text: its number or name, or the place of the one in a vector of zeros."""
    if isinstance(label, bool) or not isinstance(label, int | str | list):
        raise ValueError(f"a label of type {type(label).__name__}")
    if not isinstance(label, list):
        return str(label)
    if sorted(label)[-2:] != [0, 1] or set(label) != {0, 1}:
        raise ValueError("a vector that is not one 1 among zeros")
    return str(label.index(1))


def _labels_of_samples(files: Files) -> list[str] | None:
    for ending, parse in ((".cls", _parse_cls), (".json", _parse_class_in_json)):
        members = [split_name(key).key + ending for key in files.keys]
        if not all(member in files.names for member in members):
            continue
        # All or none: classes of some of the images are no classes of the set.
        labels = [parse(files.read(member), files.locate(member)) for member in members]
        if None not in labels:
            return [label for label in labels if label is not None]
    return None


def _parse_cls(data: bytes, name: str) -> str | None:
    # WebDataset writes a number; a name is as good.
    label = data[:1000].decode("utf-8", "replace").strip()
    if not label or "\ufffd" in label:
        raise InputError(f"{name}: expected the number or name of a class, found {data[:20]!r}")
    return label


def _parse_class_in_json(data: bytes, name: str) -> str | None:
    content = _parse_json(data, name)
    if not isinstance(content, Mapping):
        return None
    label = next((content[key] for key in _JSON_KEYS if key in content), None)
    return str(label) if isinstance(label, int | str) and not isinstance(label, bool) else None


def _parse_json(data: bytes, name: str) -> Any:  # noqa: ANN401
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name}: expected JSON, found it corrupt: {error}") from error
