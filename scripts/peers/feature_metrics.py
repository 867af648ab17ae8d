"""Computes metrics from features by one tool, and how long they took.

feature_metrics.py TOOL REFERENCE.npy GENERATED.npy

TOOL is jaxfid, torch_fidelity or prdc, to be run by a Python that has it. Prints JSON: per metric its
`values`, `seconds` and `cpu_seconds`; reading the files and importing the tool are not timed.
"""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from offline import prepare_torchvision

Values = Mapping[str, float]


def make_jaxfid(reference: np.ndarray, generated: np.ndarray) -> dict[str, Callable[[], Values]]:
    """Returns jaxfid's metrics, to be called."""
    from jaxfid.cli.options import start_jax
    from jaxfid.metrics.frechet.distance import frechet_distance_from_features
    from jaxfid.metrics.kernel import kernel_distance
    from jaxfid.metrics.manifold import manifold_scores

    start_jax()  # as the command line does, with its cache of compiled programs

    def manifold() -> Values:
        scores = manifold_scores(reference, generated)
        names = ("precision", "recall", "density", "coverage")
        return {name: getattr(scores, name) for name in names}

    def prc() -> Values:
        scores = manifold_scores(reference, generated, metrics=("precision", "recall"))
        return {name: getattr(scores, name) for name in ("precision", "recall")}

    def kid() -> Values:
        distance = kernel_distance(reference, generated)
        return {"kid": distance.subset_mean, "kid_std": distance.subset_std}

    return {
        "fid": lambda: {"fid": frechet_distance_from_features(reference, generated)},
        "kid": kid,
        "prc": prc,
        "manifold": manifold,
    }


def make_torch_fidelity(
    reference: np.ndarray, generated: np.ndarray
) -> dict[str, Callable[[], Values]]:
    """Returns torch-fidelity's metrics, to be called."""
    prepare_torchvision()
    import torch
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
    from torch_fidelity.metric_kid import kid_features_to_metric
    from torch_fidelity.metric_prc import prc_features_to_metric

    real, fake = torch.from_numpy(reference), torch.from_numpy(generated)

    def fid() -> Values:
        statistics = (fid_features_to_statistics(x) for x in (real, fake))
        out = fid_statistics_to_metric(*statistics, verbose=False)
        return {"fid": out["frechet_inception_distance"]}

    def kid() -> Values:
        out = kid_features_to_metric(real, fake, verbose=False)
        mean, std = (out[f"kernel_inception_distance_{x}"] for x in ("mean", "std"))
        return {"kid": mean, "kid_std": std}

    def prc() -> Values:
        out = prc_features_to_metric(fake, real, verbose=False)
        return {name: out[name] for name in ("precision", "recall")}

    return {"fid": fid, "kid": kid, "prc": prc}


def make_prdc(reference: np.ndarray, generated: np.ndarray) -> dict[str, Callable[[], Values]]:
    """Returns prdc's metrics, to be called: it has one k for all, so it takes two runs."""
    import prdc

    def manifold() -> Values:
        with contextlib.redirect_stdout(sys.stderr):
            three = prdc.compute_prdc(reference, generated, nearest_k=3)
            five = prdc.compute_prdc(reference, generated, nearest_k=5)
        names = {"precision": three, "recall": three, "density": five, "coverage": five}
        return {name: float(found[name]) for name, found in names.items()}

    return {"manifold": manifold}


def measure(metric: Callable[[], Values]) -> dict[str, Any]:
    """Returns a metric's values and what they took."""
    start, cpu_start = time.perf_counter(), time.process_time()
    values = metric()
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    return {"values": values, "seconds": seconds, "cpu_seconds": cpu_seconds}


def main() -> None:
    """Runs one tool on the features."""
    tool, *paths = sys.argv[1:]
    makers = {"jaxfid": make_jaxfid, "torch_fidelity": make_torch_fidelity, "prdc": make_prdc}
    metrics = makers[tool](*(np.load(path) for path in paths))
    print(json.dumps({name: measure(metric) for name, metric in metrics.items()}))


if __name__ == "__main__":
    main()
