"""Pictures of a set for people to look at: its first images, and those of lowest and highest realism."""

import io
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int
from PIL import Image

from jaxfid.errors import InputError
from jaxfid.images.interface import ImageSource
from jaxfid.report.entries import Picture
from jaxfid.report.run_folder import RunFolder
from jaxfid.storage.names import slug

NUM_FIRST, NUM_EXTREME = 12, 6

_ROWS_AT_ONCE = 4096


class Album:
    """Keeps images of one set as PNG files in the folder of a run.

    Args:
      run: The folder.
      source: The set.
      name: The set's name, which no other set of the run has.
    """

    def __init__(self, run: RunFolder, source: ImageSource, name: str) -> None:
        self._run, self._source = run, source
        self._folder = slug(name)
        # Of several processes one writes; the others have no need of its images, unless they come from all.
        self._reads = run.writes or source.jointly

    def keep(self, index: int) -> Picture:
        """Returns the image at a position, written to its file."""
        file = f"{self._folder}/{index:06d}.png"
        if self._reads:
            buffer = io.BytesIO()
            Image.fromarray(self._source.read(index)).save(buffer, "PNG")
            self._run.write(f"images/{file}", buffer.getvalue())
        return Picture(file, index)

    def keep_first(self) -> list[Picture]:
        """Returns the first images. In sets that share their noise, these belong together."""
        return self._keep_readable(range(min(NUM_FIRST, len(self._source))))

    def keep_spread(self) -> list[Picture]:
        """Returns images spread evenly over the set, which may be sorted by class."""
        count = min(NUM_FIRST, len(self._source))
        return self._keep_readable(
            np.linspace(0, len(self._source) - 1, count).astype(int).tolist()
        )

    def _keep_readable(self, indices: Iterable[int]) -> list[Picture]:
        """An image that cannot be read has no picture; the pass deals with it as the user chose."""
        return [self.keep(index) for index in indices if self._is_readable(index)]

    def _is_readable(self, index: int) -> bool:
        try:
            if self._reads:
                self._source.read(index)
        except InputError:
            return False
        return True

    def seen(self, left_out: Collection[str]) -> Int[np.ndarray, " n"]:
        """Returns the position of each row of the set's features. Files left out have no row."""
        keys = self._source.keys
        return np.array([i for i, key in enumerate(keys) if key not in left_out], int)


def keep_extremes(
    realism: Float[np.ndarray, " n"],
    generated: tuple[Album, Float[np.ndarray, "n d"], Collection[str]],
    reference: tuple[Album, Float[np.ndarray, "m d"], Collection[str]],
) -> Mapping[str, Sequence[Picture]]:
    """Returns the images of the `lowest` and `highest` realism, each with its nearest reference image.

    Args:
      realism: Of each row of the generated features.
      generated: Where images are kept, their features, and keys of files that have none.
      reference: The same of the reference.
    """
    (album, features, left_out), (reference_album, reference_features, missing) = (
        generated,
        reference,
    )
    order = np.argsort(realism, kind="stable")
    few = min(NUM_EXTREME, len(order) // 2)  # of a small set no image is among both
    positions, reference_positions = album.seen(left_out), reference_album.seen(missing)
    pictures = {}
    for kind, rows in (("lowest", order[:few]), ("highest", order[::-1][:few])):
        nearest = reference_positions[find_nearest(features[rows], reference_features)]
        pictures[kind] = [
            Picture(
                file=album.keep(int(positions[row])).file,
                index=int(positions[row]),
                realism=float(realism[row]),
                nearest=reference_album.keep(int(other)).file,
            )
            for row, other in zip(rows, nearest, strict=True)
        ]
    return pictures


def find_nearest(
    features: Float[np.ndarray, "n d"], among: Float[np.ndarray, "m d"]
) -> Int[np.ndarray, " n"]:
    """Returns the row of `among` that is nearest to each of a few feature vectors."""
    # Float64, because features that are alike differ in digits that float32 squares do not hold.
    wanted = np.asarray(features, np.float64)
    best, found = np.full(len(wanted), np.inf), np.zeros(len(wanted), int)
    for start in range(0, len(among), _ROWS_AT_ONCE):
        rows = np.asarray(among[start : start + _ROWS_AT_ONCE], np.float64)
        # Squared distances less the wanted vector's own length, which moves no minimum.
        distances = np.square(rows).sum(1) - 2 * wanted @ rows.T
        nearest = distances.argmin(1)
        closer = distances[np.arange(len(wanted)), nearest]
        found = np.where(closer < best, start + nearest, found)
        best = np.minimum(best, closer)
    return found
