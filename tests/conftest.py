"""Eight simulated CPU devices for every test; one cache of compiled programs for all processes of a run."""

import os
import shutil
import tempfile

CACHE = "JAX_COMPILATION_CACHE_DIR"
# Set before JAX is imported, here and, inherited, in pytest's workers and in the commands that tests start.
made_here = CACHE not in os.environ
if made_here:
    os.environ[CACHE] = tempfile.mkdtemp(prefix="jaxfid-tests-")

import jax  # noqa: E402
import jaxtyping  # noqa: E402

import tests.type_checker  # noqa: E402, F401

# Every shape and type in a signature of jaxfid is checked at each call of the tests.
jaxtyping.install_import_hook("jaxfid", "tests.type_checker.check")

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)


def pytest_unconfigure():
    if made_here:
        shutil.rmtree(os.environ.pop(CACHE), ignore_errors=True)
