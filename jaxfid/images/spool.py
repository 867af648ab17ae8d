"""Images that come once, in order, from an iterable or a generator: kept in a temporary file."""

import tempfile
import threading
import weakref
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from jaxfid.errors import InputError
from jaxfid.images.arrays import as_image, check_image_array, in_three_channels, make_position_keys
from jaxfid.images.interface import ImageSource
from jaxfid.images.records import choose_fields, image_in, label_in
from jaxfid.storage.files import writing


class _Place(NamedTuple):
    offset: int
    shape: tuple[int, ...]
    crc: int

    @property
    def num_bytes(self) -> int:
        return int(np.prod(self.shape))


class SpooledSource(ImageSource):
    """The images of an iterable, which is read to its end at once; keys are positions.

    Their pixels go to a file in the system's temporary folder (`TMPDIR`), as large as the arrays are, so
    that memory does not grow with their number. The file goes with the source or the process, however
    that ends.
    """

    def __init__(
        self,
        images: Iterable[Any],
        *,
        name: str,
        image_key: str | None = None,
        label_key: str | None = None,
    ) -> None:
        """Takes uint8 arrays `(h, w, 3)` or `(h, w)`, batches of them, or Pillow's images, of any sizes.

        Items may also be dicts that hold one, and a class: records of Grain, Hugging Face or WebDataset.

        Raises:
          InputError: An item is something else, or there are no items; names the item.
        """
        self.name = name
        self._places: list[_Place] = []
        # It has no name, so that nothing stays behind however the process ends.
        self._file = tempfile.TemporaryFile(prefix="jaxfid-")  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._lock = threading.Lock()
        labels: list[str] = []
        single = _single_images(images, name, labels, image_key=image_key, label_key=label_key)
        for image in single:
            pixels = image.tobytes()
            # The checksum is made while the pixels are at hand: an identity reads nothing again.
            self._places.append(_Place(self._file.tell(), image.shape, zlib.crc32(pixels)))
            with writing(tempfile.gettempdir()):  # a full disk
                self._file.write(pixels)
        if not self._places:
            raise InputError(f"{name}: expected images, found none in it")
        self.keys = make_position_keys(len(self._places))
        self.labels = labels or None

    def read(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        """Returns the image at a position."""
        place = self._places[index]
        with self._lock:
            self._file.seek(place.offset)
            pixels = self._file.read(place.num_bytes)
        return in_three_channels(np.frombuffer(pixels, np.uint8).reshape(place.shape))

    def fingerprint(self, index: int, *, whole: bool = False) -> str:
        """Returns the image's size in bytes and a checksum of its pixels."""
        place = self._places[index]
        return f"{place.num_bytes} {place.crc:08x}"


def _single_images(
    images: Iterable[Any],
    name: str,
    labels: list[str],
    *,
    image_key: str | None,
    label_key: str | None,
) -> Iterator[UInt8[np.ndarray, "h w *c"]]:
    """Gives image by image, and puts the class of each record that has one into `labels`."""
    fields = None
    for number, item in enumerate(images):
        place = f"{name} item {number}"
        if number == 0 and isinstance(item, Mapping):
            fields = choose_fields(item, name, image_key=image_key, label_key=label_key)
        elif fields is None and (image_key or label_key):
            expected = "image_key: expected a folder, .zip or .tar file, or records"
            raise InputError(f"{expected}, found {name}")
        if fields is not None:
            if fields.label is not None:
                labels.append(label_in(item, fields, place))
            yield image_in(item, fields, place)
        elif getattr(item, "ndim", 3) == 4:
            batch = np.asarray(item)
            check_image_array(batch.shape, batch.dtype, place)
            yield from batch
        else:
            yield as_image(item, place)
