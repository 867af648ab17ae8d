"""What is packed: the wheel has all that an installed jaxfid reads, the sdist no more than a user needs."""

import importlib.metadata
import pathlib
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile

import pytest

import jaxfid
from jaxfid.distributed.runtime import KNOWN_JAX

ROOT = pathlib.Path(jaxfid.__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return zipfile.ZipFile(wheel), tarfile.open(sdist)


def test_the_wheel_has_what_is_read(packed):
    names = packed[0].namelist()
    for needed in ("py.typed", "report/templates/page.html.jinja", "weights/manifest.json"):
        assert f"jaxfid/{needed}" in names
    assert not [name for name in names if not re.match(r"jaxfid(-[\d.]+\.dist-info)?/", name)]


def test_the_sdist_has_the_tests_and_no_ci(packed):
    names = [name.partition("/")[2] for name in packed[1].getnames()]
    assert {"tests/test_package.py", "README.md", "CITATION.cff", "docs/start.md"} <= {*names}
    assert not [name for name in names if name.startswith(".ci")]


def test_the_metadata_is_that_of_the_citation(packed):
    meta = packed[0].read(f"jaxfid-{PROJECT['version']}.dist-info/METADATA").decode()
    citation = (ROOT / "CITATION.cff").read_text()
    assert f"version: {PROJECT['version']}\n" in citation
    assert f"version = {{{PROJECT['version']}}}" in (ROOT / "README.md").read_text()
    (author,) = PROJECT["authors"]
    assert f"Author: {author['name']}" in meta
    assert f'- name: "{author["name"]}"' in citation


def test_the_oldest_jax_is_one_that_is_known():
    (least,) = [d.removeprefix("jax>=") for d in PROJECT["dependencies"] if d.startswith("jax>=")]
    assert tuple(map(int, least.split("."))) == KNOWN_JAX[0]
    installed = importlib.metadata.version("jax").split(".")
    assert KNOWN_JAX[0] <= (int(installed[0]), int(installed[1])) <= KNOWN_JAX[1]
