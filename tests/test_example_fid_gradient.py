"""The example that descends on an FID does, and what it says is what an evaluator scores."""

import importlib.util
import pathlib
import re

import numpy as np

EXAMPLE = pathlib.Path(__file__).parents[1] / "scripts" / "examples" / "fid_gradient.py"


def test_the_example_lowers_the_distance(tmp_path, capsys):
    spec = importlib.util.spec_from_file_location("fid_gradient", EXAMPLE)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    rng = np.random.default_rng(0)
    colours = rng.integers(40, 216, (12, 1, 1, 3))
    np.save(
        tmp_path / "real.npy", (colours + rng.integers(-9, 9, (12, 16, 16, 3))).astype(np.uint8)
    )

    options = "--weights untrained --dims 64 --num-images 4 --side 16 --steps 4"
    example.main([str(tmp_path / "real.npy"), *options.split()])

    *steps, last = capsys.readouterr().out.splitlines()
    values = [float(line.split(": ")[1]) for line in steps]
    assert len(values) == 5
    assert values == sorted(values, reverse=True)
    assert values[-1] < 0.9 * values[0]
    # The objective rounds to pixels as the evaluator does; printed with six digits.
    scored = float(re.search(r"fid \(.*?\) ([\d.]+)", last).group(1))
    np.testing.assert_allclose(scored, values[-1], rtol=1e-4)
