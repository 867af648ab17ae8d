"""What a sampler is, by which a comparison that goes on knows it again."""

import functools
import importlib
import json
import os
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from jaxfid.checkpoints.sampler_identity import describe_sampler
from jaxfid.checkpoints.user_modules import find_user_modules
from jaxfid.errors import InputError

FILES = {
    "ck_sampler.py": "import numpy\nfrom ck_package import model\n\ndef make(path):\n    import ck_late\n",
    "ck_late.py": "value = 1\n",
    "ck_other.py": "value = 1\n",
    "ck_package/__init__.py": "",
    "ck_package/model.py": "from . import layers as l\nfrom .layers import thing\n",
    "ck_package/layers.py": "import os, missing_package\nthing = 1\n",
}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A user's own folder, whose modules are forgotten afterwards."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "ck_package/layers.py").write_text("import os\nthing = 1\n")
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("ck_")]:
        del sys.modules[name]


@pytest.fixture
def make(project):
    return importlib.import_module("ck_sampler").make


def test_modules_of_the_users_own_are_followed_and_no_others(project, make):
    found = find_user_modules("ck_sampler")
    names = ["ck_late", "ck_package", "ck_package.layers", "ck_package.model", "ck_sampler"]
    assert sorted(found) == names
    assert "ck_late" not in sys.modules  # looked at, not run
    assert found["ck_package.layers"] == project / "ck_package/layers.py"


@pytest.mark.parametrize("name", ["ck_sampler.py", "ck_late.py", "ck_package/layers.py"])
def test_another_source_is_another_sampler(project, make, name):
    before = describe_sampler(make)
    assert describe_sampler(make) == before
    with (project / name).open("a") as file:
        file.write("# changed\n")
    assert describe_sampler(make) != before


def test_what_is_not_imported_does_not_matter(project, make):
    before = describe_sampler(make)
    (project / "ck_other.py").write_text("value = 2\n")
    assert describe_sampler(make) == before
    assert before["name"] == "ck_sampler:make"


def test_arguments_of_partial_are_part_of_it(make):
    values = [
        functools.partial(make, steps=5),
        functools.partial(make, steps=6),
        functools.partial(make, "a"),
        functools.partial(make, weights=np.arange(3)),
        functools.partial(make, weights=jax.numpy.arange(4)),
        functools.partial(make, nested={"a": [1, 2.5, None, Path("x")]}),
        make,
    ]
    described = [json.dumps(describe_sampler(value)) for value in values]
    assert len(set(described)) == len(values)
    again = functools.partial(functools.partial(make, steps=4), steps=5)
    assert describe_sampler(again) == describe_sampler(values[0])


def test_decorated_function_of_a_module_is_one(make):
    decorated = functools.wraps(make)(lambda *arguments: make(*arguments))
    assert describe_sampler(decorated) == describe_sampler(make)


class Sampler:
    def __call__(self, path):
        return None

    def draw(self, path):
        return None


@pytest.mark.parametrize(
    "sampler", [lambda path: path, Sampler(), Sampler().draw, functools.partial(lambda path: path)]
)
def test_what_holds_values_that_no_source_shows_needs_an_id(sampler):
    with pytest.raises(
        InputError, match=r"sampler: expected a function of a module.*give sampler_id="
    ):
        describe_sampler(sampler)
    assert describe_sampler(sampler, "mine, 5 steps") == {"id": "mine, 5 steps"}


def test_by_its_name_in_a_module_anything_is_known_by_the_source(project, make):
    with (project / "ck_sampler.py").open("a") as file:
        file.write("made = (lambda x: lambda path: x)(3)\n")
    before = describe_sampler("ck_sampler:made")
    assert before["name"] == "ck_sampler:made"
    (project / "ck_late.py").write_text("value = 2\n")
    assert describe_sampler("ck_sampler:made") != before


def test_arguments_that_cannot_be_compared_need_an_id(make):
    with pytest.raises(InputError, match="found model of type object; give sampler_id="):
        describe_sampler(functools.partial(make, model=object()))


def test_module_without_a_file_has_no_digest():
    assert describe_sampler(os.getcwd)["source"] is None
