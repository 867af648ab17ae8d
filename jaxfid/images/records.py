"""Images in records that are dicts, as Hugging Face's data sets, Grain and WebDataset give them."""

import functools
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from jaxfid.errors import InputError
from jaxfid.images.arrays import (
    RandomAccess,
    as_image,
    fingerprint_array,
    in_three_channels,
    make_position_keys,
)
from jaxfid.images.decode import MAX_IMAGE_BYTES
from jaxfid.images.interface import ImageSource, name_some
from jaxfid.storage.files import read_file

_IMAGE_KEYS = ("image", "img", "jpg", "jpeg", "png", "webp", "image/encoded")
_LABEL_KEYS = ("label", "cls", "class", "image/class/label")


class Fields(NamedTuple):
    """Which parts of a record are its image and its class.

    Attributes:
      image: Name of the image.
      label: Name of the class; None where records have none.
    """

    image: str
    label: str | None


def choose_fields(
    first: object, name: str, *, image_key: str | None, label_key: str | None
) -> Fields:
    """Returns which parts of records are meant, by what was asked for, else by the usual names.

    Args:
      first: The first record.
      name: What the user called the source.
      image_key: Name of the image; None for the first of the usual names, else the only image.
      label_key: Name of the class; None for the first of the usual names, if one is there.

    Raises:
      InputError: The record is no dict, or has no such part.
    """
    record = _require_record(first, name)
    image = image_key or next((key for key in _IMAGE_KEYS if key in record), None)
    if image is None:
        images = [key for key, value in record.items() if _is_image(value)]
        image = images[0] if len(images) == 1 else None
    found = f"the names {name_some([str(key) for key in record])}"
    if image is None or image not in record:
        wanted = "image_key, the name of the image" if image is None else f"{image} as image_key"
        raise InputError(f"{name}: expected {wanted}; its records have {found}")
    if label_key is not None and label_key not in record:
        raise InputError(f"{name}: expected {label_key} as label_key; its records have {found}")
    return Fields(image, label_key or next((key for key in _LABEL_KEYS if key in record), None))


def _is_image(value: object) -> bool:
    return isinstance(value, Image.Image) or (isinstance(value, np.ndarray) and value.ndim > 1)


def image_in(record: object, fields: Fields, name: str) -> UInt8[np.ndarray, "h w *c"]:
    """Returns the image of a record: an array, Pillow's, encoded bytes, or a dict or path of these.

    Raises:
      InputError: There is none, or it cannot be decoded.
    """
    value = _value_in(record, fields.image, name)
    if isinstance(value, Mapping):  # Hugging Face's images before they are decoded
        value = value.get("bytes") or value.get("path")
    if isinstance(value, str | os.PathLike):
        value = read_file(value, max_bytes=MAX_IMAGE_BYTES)
    return as_image(value, name)


def label_in(record: object, fields: Fields, name: str) -> str:
    """Returns the class of a record as text.

    Raises:
      InputError: There is none, or it is neither a number nor a name.
    """
    label = _value_in(record, fields.label or "", name)
    if isinstance(label, bytes):
        label = label.decode("utf-8", "replace")
    if isinstance(label, np.ndarray | np.generic) and np.ndim(label) == 0:
        label = label.item()
    if not isinstance(label, int | str):
        found = type(label).__name__
        raise InputError(f"{name}: expected the number or name of a class, found {found}")
    return str(label)


def _value_in(record: object, key: str, name: str) -> Any:  # noqa: ANN401
    found = _require_record(record, name)
    if key not in found:
        raise InputError(f"{name}: expected a record with {key}, found one without")
    return found[key]


def _require_record(record: object, name: str) -> Mapping[str, Any]:
    if isinstance(record, Mapping):
        return record
    # Grain's `filter` leaves None in the places of what it drops.
    remedy = "; of a filtered MapDataset give to_iter_dataset()" if record is None else ""
    raise InputError(f"{name}: expected a dict, found {type(record).__name__}{remedy}")


class RecordSource(ImageSource):
    """The images of records at positions, such as those of a Grain `MapDataset` or data source.

    Records are read from several threads at once unless decoding has no workers.
    """

    def __init__(
        self,
        records: RandomAccess,
        *,
        name: str,
        image_key: str | None = None,
        label_key: str | None = None,
    ) -> None:
        """Takes the records; raises InputError if the first has no image."""
        self.name = name
        self.keys = make_position_keys(len(records))
        self.fields = choose_fields(records[0], name, image_key=image_key, label_key=label_key)
        self.records = records
        self.read(0)  # a wrong kind of image is an error here, before any work began

    @functools.cached_property
    def labels(self) -> Sequence[str] | None:  # type: ignore[override]
        """Classes, found by reading every record once; None where records have none."""
        if self.fields.label is None:
            return None
        indices = range(len(self.keys))
        return [label_in(self.records[i], self.fields, f"{self.name}[{i}]") for i in indices]

    def read(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """Returns the image of a record."""
        record = self.records[index]
        return in_three_channels(image_in(record, self.fields, f"{self.name}[{index}]"))

    def fingerprint(self, index: int, *, whole: bool = False) -> str:
        """Returns the size of an image and a digest of it, only when `whole`: it may be costly to make."""
        return fingerprint_array(self.read(index), whole=True) if whole else ""
