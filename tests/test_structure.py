"""The house rules: imports point one way, and the public names are those that are promised."""

import ast
import pathlib
import subprocess
import sys

import pytest

import jaxfid

ROOT = pathlib.Path(jaxfid.__file__).parent
# The rooms from top to bottom: a module imports from its own room and from those below it, never up.
ORDER = [
    *("__main__", "cli", "checkpoints", "report", "integrations", "evaluate", "evaluator"),
    *("scoring", "settings", "metrics", "result", "extraction", "distributed", "stats"),
    *("extractors", "preprocessing", "images", "storage", "provenance", "platforms"),
    *("activity", "notebook", "context", "errors"),
]
NOT_IN = {
    "images": {"jax", "flax"},
    "metrics": {"flax", "PIL"},
    "settings": {"jax", "flax"},
    "storage": {"jax", "flax"},
}


def imported_modules(path: pathlib.Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module)
    return names


def room(path: pathlib.Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


MODULES = [p for p in sorted(ROOT.rglob("*.py")) if p.parent != ROOT or p.name != "__init__.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path):
    imported = imported_modules(path)
    rooms = {name.split(".")[1] for name in imported if name.startswith("jaxfid.")}
    assert rooms <= set(ORDER[ORDER.index(room(path)) :])
    assert not {name.split(".")[0] for name in imported} & NOT_IN.get(room(path), set())


def test_public_names():
    assert set(jaxfid.__all__) == {
        "PROTOCOLS",
        "Evaluator",
        "Extractor",
        "FeatureNetwork",
        "ImageSource",
        "InputError",
        "JaxfidError",
        "Metric",
        "MetricValue",
        "Moments",
        "Protocol",
        "Result",
        "SetResult",
        "Settings",
        "Stats",
        "Watch",
        "Weights",
        "WeightsUnavailableError",
        "compare_checkpoints",
        "compare_samples",
        "compute_features",
        "compute_fid",
        "compute_metrics",
        "compute_metrics_from_features",
        "compute_stats",
        "extract_features",
        "frechet_distance",
        "frechet_distance_from_features",
        "frechet_objective",
        "initialize_distributed",
        "load_stats",
        "load_weights",
        "open_source",
        "plot_curve",
        "plot_features",
        "plot_pair",
        "prepare_reference",
        "save_stats",
    }


def test_public_names_are_the_typed_ones_and_exist():
    tree = ast.parse((ROOT / "__init__.py").read_text())
    typed = {
        alias.asname
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    assert typed == set(jaxfid.__all__)
    assert all(getattr(jaxfid, name).__doc__ for name in jaxfid.__all__)
    with pytest.raises(AttributeError, match="no attribute 'fid'"):
        _ = jaxfid.fid


def test_help_imports_no_jax():
    code = (
        "import sys, jaxfid.cli\n"
        "try:\n    jaxfid.cli.main(['--help'])\nexcept SystemExit: pass\n"
        "sys.exit('jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "score" in done.stdout


def test_no_test_module_imports_another():
    tests = pathlib.Path(__file__).parent
    for path in tests.rglob("test_*.py"):
        imported = [name for name in imported_modules(path) if name and ".test_" in f".{name}"]
        assert not imported, path.relative_to(tests)
