"""Makes a TFDS data set, `pictures`, of a folder of images; TensorFlow is not needed.

python pictures.py FOLDER DATA_DIR
"""

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds
from PIL import Image

SIDE_PX = 32


class Pictures(tfds.core.GeneratorBasedBuilder):
    """The images of a folder, cut square and reduced, their classes the folders they lie in."""

    VERSION = tfds.core.Version("1.0.0")
    folder: Path

    def _info(self) -> tfds.core.DatasetInfo:
        classes = sorted({path.parent.name for path in self._paths()})
        features = {
            "image": tfds.features.Image(shape=(SIDE_PX, SIDE_PX, 3), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=classes),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[Any]]:  # noqa: ANN401
        return {"train": self._generate_examples()}

    def _generate_examples(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for path in self._paths():
            yield str(path), {"image": shrink(path), "label": path.parent.name}

    def _paths(self) -> list[Path]:
        endings = (".jpg", ".jpeg", ".png")
        return sorted(path for path in self.folder.rglob("*") if path.suffix.lower() in endings)


def shrink(path: Path) -> bytes:
    """Returns the middle square of an image as a PNG of `SIDE_PX`."""
    image = Image.open(path).convert("RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    buffer = io.BytesIO()
    square.resize((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS).save(buffer, "PNG")
    return buffer.getvalue()


def main(folder: str, data_dir: str) -> None:
    """Prepares the data set, in files that can be read at random."""
    Pictures.folder = Path(folder)
    Pictures(data_dir=data_dir, file_format="array_record").download_and_prepare()


if __name__ == "__main__":
    main(*sys.argv[1:])
