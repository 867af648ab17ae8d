"""Where the real images, weights and reference values lie, when they are beside the checkout."""

import json
import pathlib

import pytest

SHARED = pathlib.Path(__file__).parents[2] / "shared"
needs_shared = pytest.mark.skipif(
    not (SHARED / "goldens.json").exists(),
    reason="../shared with its real images and weights is absent",
)
WEIGHTS = SHARED / "weights" / "inception-2015-12-05-partial.pth"


def load_goldens() -> dict:
    return json.loads((SHARED / "goldens.json").read_text())
