"""Data sets of Hugging Face's package `datasets`, given as objects or kept in folders here."""

import functools
import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

from jaxfid.errors import InputError
from jaxfid.images.interface import name_some, sample_content
from jaxfid.images.records import RecordSource
from jaxfid.storage.paths import is_remote

SCHEME = "hf:"


class HuggingFaceSource(RecordSource):
    """The images of a `datasets.Dataset`, in its order; decoded by the same rules as files are."""

    def __init__(
        self,
        data_set: Any,  # noqa: ANN401  # of a package that may not be installed
        *,
        name: str,
        image_key: str | None = None,
        label_key: str | None = None,
    ) -> None:
        """Takes the data set; raises InputError if its first record has no image."""
        super().__init__(data_set, name=name, image_key=image_key, label_key=label_key)
        self._features: Mapping[str, Any] = data_set.features
        image = self._features[self.fields.image]
        if hasattr(image, "decode"):  # a column of encoded images; others hold arrays
            undecoded = type(image)(decode=False)
            self.records = data_set.cast_column(self.fields.image, undecoded)

    @functools.cached_property
    def labels(self) -> Sequence[str] | None:  # type: ignore[override]
        """Names of classes, or numbers without names; None where there is no such column."""
        if self.fields.label is None:
            return None
        to_name = getattr(self._features[self.fields.label], "int2str", str)
        return [to_name(label) for label in self.records[self.fields.label]]  # type: ignore[index]

    def fingerprint(self, index: int, *, whole: bool = False) -> str:
        """Returns the size of an encoded image and a digest of it."""
        image = self.records[index][self.fields.image]
        data = image.get("bytes") if isinstance(image, Mapping) else None
        if not data:  # an array, or a file of its own
            return super().fingerprint(index, whole=True)
        return sample_content(lambda o, n: data[o : o + n], len(data), whole=whole)


def is_hugging_face(images: object) -> bool:
    """Whether an object is a `datasets.Dataset`, without importing that package."""
    return all(hasattr(images, name) for name in ("cast_column", "features", "column_names"))


def open_hugging_face(spec: str, *, image_key: str | None, label_key: str | None) -> RecordSource:
    """Returns the images of a data set that `save_to_disk` wrote; nothing is downloaded.

    Args:
      spec: `hf:FOLDER`, and of a data set in several splits `hf:FOLDER/SPLIT`.
      image_key: As in `open_source`.
      label_key: As in `open_source`.

    Raises:
      InputError: There is none, it has several splits or no images; or `datasets` is not installed.
    """
    folder = spec.removeprefix(SCHEME)
    if is_remote(folder):
        raise InputError(f"{spec}: expected a folder of this machine; copy it here first")
    if importlib.util.find_spec("datasets") is None:
        raise InputError(f"{spec}: needs the package datasets; pip install datasets")
    import datasets  # type: ignore[import-not-found]  # an extra

    try:
        found = datasets.load_from_disk(folder)
    except Exception as error:  # It raises whatever a damaged folder leads it to.
        expected = "expected a folder that save_to_disk of datasets wrote"
        raise InputError(f"{spec}: {expected}: {error}") from error
    if not is_hugging_face(found) or isinstance(found, Mapping):
        splits = name_some([f"{spec}/{split}" for split in found])
        raise InputError(f"{spec}: expected one split, found several; choose one of {splits}")
    if not len(found):
        raise InputError(f"{spec}: expected images, found none in it")
    return HuggingFaceSource(found, name=spec, image_key=image_key, label_key=label_key)
