"""What the README and docs name is there: links, headings, options, public names, commands."""

import argparse
import os
import pathlib
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import jaxfid
from jaxfid.cli import COMMANDS, make_parser

ROOT = pathlib.Path(jaxfid.__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
# Lines that start these run no jaxfid command: their options are their own.
OTHER_PROGRAMS = re.compile(r"scripts/|\bpip\b|git ")


def page_ids(path):
    return str(path.relative_to(ROOT))


def anchors(page):
    """Headings as GitHub and MkDocs link to them."""
    headings = re.findall(r"^#+ (.+)$", without_blocks(page.read_text()), re.M)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def without_blocks(text):
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


def parsers(parser):
    """The parser and those of its commands."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from parsers(child)


def known_options():
    return {
        o for p in parsers(make_parser([*COMMANDS])) for a in p._actions for o in a.option_strings
    }


def ours(page):
    """The lines of a page that speak of jaxfid; tables of migration have the other tool on the left."""
    for line in page.read_text().splitlines():
        if OTHER_PROGRAMS.search(line) and "jaxfid " not in line:
            continue
        if page.name == "coming-from.md":
            if line.startswith("**The order"):
                continue
            if line.startswith("|"):
                _, _, line = line.removeprefix("|").partition("|")
        yield line


def commands(page):
    """Commands of jaxfid in fenced blocks of bash or console."""
    for kind, block in re.findall(r"^```(bash|console)\n(.*?)^```", page.read_text(), re.M | re.S):
        for line in block.splitlines():
            text = line.removeprefix("$ ") if kind == "console" else line
            if text.startswith("jaxfid ") and (kind == "bash" or line.startswith("$ ")):
                yield shlex.split(text, comments=True)[1:]


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_links_lead_somewhere(page):
    for target in LINK.findall(page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        file = page.parent / path if path else page
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_options_exist(page):
    named = {option for line in ours(page) for option in OPTION.findall(line)}
    assert named <= known_options()


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_files_exist(page):
    named = re.findall(r"(?<![\w/])(?:scripts|tests|jaxfid|weights)/[\w./]*\w", page.read_text())
    assert not [name for name in named if not (ROOT / name).exists()]


@pytest.mark.parametrize("page", PAGES, ids=page_ids)
def test_names_are_public(page):
    named = set(re.findall(r"\bjaxfid\.([A-Za-z_]\w*)", page.read_text()))
    assert named <= {*jaxfid.__all__, "__version__", "integrations"}


def test_the_commands_of_the_readme_parse():
    found = list(commands(ROOT / "README.md"))
    assert len(found) >= 4  # the pattern above finds what it is meant to
    for command in found:
        make_parser(command[:1]).parse_args(command)


def test_the_api_has_every_public_name():
    named = re.findall(r"^::: jaxfid\.(\w+)$", (ROOT / "docs/api.md").read_text(), re.M)
    assert sorted(named) == sorted(jaxfid.__all__)


@pytest.mark.slow
def test_the_site_builds_without_a_broken_link(tmp_path):
    pytest.importorskip("mkdocs")
    command = ["scripts/docs", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "PYTHON": sys.executable}
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    api = (tmp_path / "api.html").read_text()
    assert all(f'id="jaxfid.{name}"' in api for name in jaxfid.__all__)
    # Nothing is fetched from elsewhere: the pages are read where there is no network.
    for page in tmp_path.glob("*.html"):
        assert not re.findall(r'(?:src|href)="https?://[^"]+\.(?:js|css|woff2?)"', page.read_text())


def test_the_readme_is_short():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 120
    assert len(text.split()) <= 900


def test_every_page_is_in_the_navigation():
    named = re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.M)
    assert sorted(named) == sorted(page.name for page in PAGES if page.name != "README.md")


SAMPLERS = """
import jax

def make_sample(path):
    spread = float(open(path).read())
    return lambda key, n: jax.random.uniform(key, (n, 16, 16, 3)) * spread
"""


def parts_of_output(text):
    """A command's output without its numbers: those of the page are of other images."""
    return re.sub(r"[\d.]+", "0", re.sub(r" +", " ", text)).strip()


@pytest.mark.slow
def test_the_readmes_commands_print_what_it_shows(tmp_path):
    rng = np.random.default_rng(0)
    for name, contrast in {"real": 255, "generated": 200, "a": 200, "b": 60}.items():
        (tmp_path / name).mkdir()
        for i in range(220):  # more than features, or there is no error bar
            pixels = rng.integers(0, contrast, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    (tmp_path / "samplers.py").write_text(SAMPLERS)
    (tmp_path / "checkpoints").mkdir()
    for step, spread in {100: 0.2, 200: 0.5, 300: 0.9}.items():
        (tmp_path / f"checkpoints/step_{step}.msgpack").write_text(str(spread))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    blocks = re.findall(r"^```console\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)
    shown = [part.partition("\n") for block in blocks for part in block.split("$ ")[1:]]
    assert len(shown) == 4
    for command, _, output in shown:
        words = shlex.split(command.replace("500", "220"))
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=tmp_path, env=environment, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert parts_of_output(done.stdout) == parts_of_output(output)
