"""Writes the features that the tool behind a protocol gives to image files, one by one.

reference_features.py PROTOCOL WEIGHTS|- OUTPUT.npz < list of files, one per line
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from offline import make_pytorch_fid_network, prepare_torchvision
from PIL import Image

WIDTHS = ("64", "192", "768", "2048")


def _make_pytorch_fid(weights: str | None) -> Callable[[np.ndarray], list[np.ndarray]]:
    import torch

    network = make_pytorch_fid_network(weights, output_blocks=range(len(WIDTHS)))

    def extract(image: np.ndarray) -> list[np.ndarray]:
        scaled = torch.from_numpy(image.transpose(2, 0, 1)[None].copy()).float().div(255)
        return [_average(block) for block in network(scaled)]

    return extract


def _make_torch_fidelity(weights: str | None) -> Callable[[np.ndarray], list[np.ndarray]]:
    import torch
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    network = FeatureExtractorInceptionV3(
        "parity", list(WIDTHS), feature_extractor_weights_path=weights
    )

    def extract(image: np.ndarray) -> list[np.ndarray]:
        pixels = torch.from_numpy(image.transpose(2, 0, 1)[None].copy())
        return [features.numpy() for features in network(pixels)]

    return extract


def _make_clean_fid(weights: str | None) -> Callable[[np.ndarray], list[np.ndarray]]:
    """clean-fid's resize; the network is pytorch-fid's, as its own comes as a compiled download."""
    import torch
    from cleanfid.resize import build_resizer

    resize = build_resizer("clean")
    network = make_pytorch_fid_network(
        weights, output_blocks=range(len(WIDTHS)), resize_input=False, normalize_input=False
    )

    def extract(image: np.ndarray) -> list[np.ndarray]:
        resized = torch.from_numpy(resize(image).transpose(2, 0, 1)[None].copy())
        return [_average(block) for block in network((resized - 128) / 128)]

    return extract


def _average(block: Any) -> np.ndarray:  # noqa: ANN401
    from torch.nn.functional import adaptive_avg_pool2d

    return adaptive_avg_pool2d(block, (1, 1))[:, :, 0, 0].numpy()


TOOLS = {
    "legacy_pytorch": _make_pytorch_fid,
    "legacy_tensorflow": _make_torch_fidelity,
    "clean": _make_clean_fid,
}


def main() -> None:
    """Writes an array `(n, width)` for each width."""
    protocol, weights, output = sys.argv[1:]
    prepare_torchvision()
    import torch

    extract = TOOLS[protocol](None if weights == "-" else weights)
    with torch.no_grad():
        rows = [
            extract(np.array(Image.open(path).convert("RGB")))
            for path in sys.stdin.read().split("\n")
        ]
    columns = zip(*rows, strict=True)
    np.savez(output, **dict(zip(WIDTHS, map(np.concatenate, columns), strict=True)))


if __name__ == "__main__":
    main()
