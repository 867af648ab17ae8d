"""The house rules: imports point one way, and the public names are those that are promised."""

import ast
import pathlib
import subprocess
import sys

import pytest

import jaxfid

ROOT = pathlib.Path(jaxfid.__file__).parent
# Who may import whom, by the first part of a module's name below `jaxfid`.
MAY_IMPORT = {
    "errors": set(),
    "protocol": {"errors"},
    "images": {"errors", "protocol"},
    "inception": {"errors", "protocol"},
    "checkpoints": {"errors", "images", "inception", "named_function"},
    "named_function": {"errors"},
    "extractors": {"errors", "inception", "named_function"},
    "stats": {"errors", "protocol"},
    "metrics": {"errors", "stats"},
    "engine": {"errors", "protocol", "images", "inception", "stats"},
    "settings": {"errors", "extractors", "protocol", "inception"},
    "checks": {"errors", "stats"},
    "result": {"errors"},
    "samples": {"errors", "settings", "checks", "engine", "images", "inception", "stats"},
    "facts": {"engine", "images", "inception", "samples", "settings", "stats"},
    "environment": {"engine"},
    "comparison": {"metrics", "result"},
    "scores": {"metrics", "result", "samples", "settings", "stats"},
    "sampler": {
        "checks",
        "engine",
        "environment",
        "errors",
        "facts",
        "images",
        "inception",
        "samples",
        "settings",
        "stats",
    },
    "scorer": {
        "checks",
        "comparison",
        "environment",
        "result",
        "sampler",
        "samples",
        "scores",
        "settings",
        "stats",
    },
    "text_table": set(),
    "per_class": {
        "errors",
        "result",
        "samples",
        "scorer",
        "scores",
        "settings",
        "stats",
        "text_table",
    },
    "evaluate": {
        "errors",
        "engine",
        "facts",
        "settings",
        "checks",
        "samples",
        "sampler",
        "scorer",
        "scores",
        "stats",
        "result",
        "per_class",
    },
    "evaluator": {
        "errors",
        "settings",
        "samples",
        "sampler",
        "scorer",
        "engine",
        "inception",
        "environment",
        "stats",
        "result",
    },
    "demo": {"errors", "evaluate", "images", "inception"},
    "process_options": {"errors", "engine"},
    "options": {"errors", "inception", "process_options", "protocol", "settings"},
    "report": {"comparison", "errors", "images", "protocol", "result", "text_table"},
    "series": {
        "checkpoints",
        "engine",
        "errors",
        "report",
        "samples",
        "scorer",
        "scores",
        "settings",
    },
    "compare": {"checkpoints", "errors", "inception", "report", "samples", "series", "settings"},
    "compare_command": {"checkpoints", "compare", "errors", "inception", "options", "report"},
    "distance_command": {"environment", "errors", "metrics", "options", "stats"},
    "cli": {
        "compare_command",
        "distance_command",
        "errors",
        "evaluate",
        "demo",
        "inception",
        "options",
        "process_options",
        "stats",
        "per_class",
    },
    "__main__": {"cli"},
}
NOT_IN = {
    "images": {"jax", "flax"},
    "metrics": {"flax", "PIL"},
    "protocol": {"jax", "flax"},
    "settings": {"jax", "flax"},
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
    assert rooms <= MAY_IMPORT[room(path)] | {room(path)}
    assert not {name.split(".")[0] for name in imported} & NOT_IN.get(room(path), set())


def test_public_names():
    assert set(jaxfid.__all__) == {
        "PROTOCOLS",
        "Evaluator",
        "FeatureNetwork",
        "ImageSource",
        "InputError",
        "JaxfidError",
        "Metric",
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
        "compute_fid",
        "compute_metrics",
        "compute_stats",
        "extract_features",
        "frechet_distance",
        "frechet_distance_from_features",
        "frechet_objective",
        "initialize_distributed",
        "load_stats",
        "load_weights",
        "open_source",
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
