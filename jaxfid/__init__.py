"""jaxfid: the Frechet Inception Distance and its family of metrics in JAX.

Public names are loaded when first used, so that `jaxfid --help` and `import jaxfid` do not start JAX.
"""

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxfid.checkpoints.compare import compare_checkpoints as compare_checkpoints
    from jaxfid.checkpoints.compare import compare_samples as compare_samples
    from jaxfid.checkpoints.watch import Watch as Watch
    from jaxfid.distributed.group import initialize_distributed as initialize_distributed
    from jaxfid.errors import InputError as InputError
    from jaxfid.errors import JaxfidError as JaxfidError
    from jaxfid.errors import WeightsUnavailableError as WeightsUnavailableError
    from jaxfid.evaluate import compute_features as compute_features
    from jaxfid.evaluate import compute_fid as compute_fid
    from jaxfid.evaluate import compute_metrics as compute_metrics
    from jaxfid.evaluate import (
        compute_metrics_from_features as compute_metrics_from_features,
    )
    from jaxfid.evaluate import compute_stats as compute_stats
    from jaxfid.evaluator import Evaluator as Evaluator
    from jaxfid.extractors.inception.model import extract_features as extract_features
    from jaxfid.extractors.interface import Extractor as Extractor
    from jaxfid.extractors.interface import FeatureNetwork as FeatureNetwork
    from jaxfid.extractors.weights import Weights as Weights
    from jaxfid.extractors.weights import load_weights as load_weights
    from jaxfid.images.interface import ImageSource as ImageSource
    from jaxfid.images.sources import open_source as open_source
    from jaxfid.metrics.frechet.distance import frechet_distance as frechet_distance
    from jaxfid.metrics.frechet.distance import (
        frechet_distance_from_features as frechet_distance_from_features,
    )
    from jaxfid.metrics.frechet.distance import prepare_reference as prepare_reference
    from jaxfid.metrics.frechet.gradient import frechet_objective as frechet_objective
    from jaxfid.preprocessing.protocol import PROTOCOLS as PROTOCOLS
    from jaxfid.preprocessing.protocol import Protocol as Protocol
    from jaxfid.report.plots import plot_curve as plot_curve
    from jaxfid.report.plots import plot_features as plot_features
    from jaxfid.report.plots import plot_pair as plot_pair
    from jaxfid.result import Metric as Metric
    from jaxfid.result import MetricValue as MetricValue
    from jaxfid.result import Result as Result
    from jaxfid.result import SetResult as SetResult
    from jaxfid.settings import Settings as Settings
    from jaxfid.stats.files import Stats as Stats
    from jaxfid.stats.files import load_stats as load_stats
    from jaxfid.stats.files import save_stats as save_stats
    from jaxfid.stats.moments import Moments as Moments

_HOMES = {
    "checkpoints.watch": ("Watch",),
    "checkpoints.compare": ("compare_checkpoints", "compare_samples"),
    "distributed.group": ("initialize_distributed",),
    "errors": ("InputError", "JaxfidError", "WeightsUnavailableError"),
    "evaluate": (
        "compute_features",
        "compute_fid",
        "compute_metrics",
        "compute_metrics_from_features",
        "compute_stats",
    ),
    "evaluator": ("Evaluator",),
    "images.interface": ("ImageSource",),
    "images.sources": ("open_source",),
    "extractors.interface": ("Extractor", "FeatureNetwork"),
    "extractors.inception.model": ("extract_features",),
    "extractors.weights": ("Weights", "load_weights"),
    "metrics.frechet.distance": (
        "frechet_distance",
        "frechet_distance_from_features",
        "prepare_reference",
    ),
    "metrics.frechet.gradient": ("frechet_objective",),
    "preprocessing.protocol": ("PROTOCOLS", "Protocol"),
    "report.plots": ("plot_curve", "plot_features", "plot_pair"),
    "result": ("Metric", "MetricValue", "Result", "SetResult"),
    "settings": ("Settings",),
    "stats.files": ("Stats", "load_stats", "save_stats"),
    "stats.moments": ("Moments",),
}
_HOME_OF = {name: f"jaxfid.{module}" for module, names in _HOMES.items() for name in names}

# The imports above tell type checkers the same names, and a test holds both lists equal.
__all__ = sorted(_HOME_OF)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    if name == "__version__":
        return importlib.metadata.version("jaxfid")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'jaxfid' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
