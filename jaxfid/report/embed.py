"""Pictures of a run folder, as part of the page."""

import base64
import io

from PIL import Image

from jaxfid.images.decode import decode_image
from jaxfid.report.run_folder import RunFolder

THUMBNAIL_PX = 192
"""Longest side of an embedded picture: enough to be looked at, and a page that can be sent."""

SMALL_PX = 64
"""Up to here pictures stay as they are, and are shown with square pixels."""


def embed_picture(run: RunFolder, file: str) -> str:
    """Returns a picture as a data URL, reduced where it is large.

    Args:
      run: The folder.
      file: The picture's place below `images/`.

    Raises:
      InputError: It is not a picture, or cannot be read.
    """
    # Decoded and encoded again: what reaches the page is our file, whatever lies in the folder.
    pixels = decode_image(run.read_picture(file), f"{run.path / 'images' / file}")
    image = Image.fromarray(pixels)
    if max(image.size) <= SMALL_PX:  # losing nothing: every pixel of a small picture is seen
        return _to_url(image, "PNG")
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.LANCZOS)
    return _to_url(image, "WEBP", quality=84)


def _to_url(image: Image.Image, kind: str, **options: int) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}"
