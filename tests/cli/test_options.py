"""What the command line sets before JAX starts."""

import os
import subprocess
import sys
import types

import jax
import pytest

from jaxfid.cli.options import start_jax
from jaxfid.images.cores import count_usable_cores

PROGRAM = """
import sys, jax
from jaxfid.cli.options import start_jax
start_jax(*sys.argv[1:])
print(jax.config.jax_compilation_cache_dir)
"""


@pytest.mark.parametrize(
    ("asked", "set_for_jax", "found"),
    [
        ([], "", "cache/jaxfid/compiled"),
        ([], "of-jax", "of-jax"),
        (["asked"], "of-jax", "asked"),
        (["none"], "of-jax", "None"),
    ],
)
def test_compile_cache_is_what_was_asked_for_then_jax_s_then_the_user_s(
    tmp_path, asked, set_for_jax, found
):
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment["JAX_COMPILATION_CACHE_DIR"] = set_for_jax
    command = [sys.executable, "-c", PROGRAM, *asked]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip().removeprefix(f"{tmp_path}/") == found


def test_programs_that_compile_at_once_are_kept_too(tmp_path):
    program = f"{PROGRAM}\nprint(jax.jit(lambda x: x + 1)(1))"
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, capture_output=True)
    assert any(file.name.startswith("jit_") for file in tmp_path.iterdir())


@pytest.mark.parametrize(("told", "expected"), [(-1, count_usable_cores()), (5, None)])
def test_cpu_devices_are_as_many_as_cores_unless_jax_was_told_otherwise(
    monkeypatch, told, expected
):
    updates = {}
    known = {**jax.config.values, "jax_num_cpu_devices": told}  # 5: by JAX_NUM_CPU_DEVICES
    monkeypatch.setattr(
        jax, "config", types.SimpleNamespace(values=known, update=updates.__setitem__)
    )
    start_jax("none")
    assert updates.get("jax_num_cpu_devices") == expected
