"""The page of a comparison, as text and in a browser."""

import io
import json
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxfid.cli import main
from jaxfid.errors import InputError
from jaxfid.images.sources import open_source
from jaxfid.report.page import make_page
from jaxfid.report.pictures import Album
from jaxfid.report.run_folder import RunFolder
from jaxfid.result import Result
from tests.images.files import make_images
from tests.report.browser import CHROMIUM, Browser
from tests.report.entries import make_entry, make_failure

HOSTILE = "<script>alert(1)</script>"
FIDS = {1000: 60.0, 2000: 9.0, 10000: 4.0, 20000: 4.1}
WIDTHS = {"light": 1280, "dark": 1280, "phone": 390}


def pictures_of(run, name, *, side):
    album = Album(run, open_source(make_images(14, side, side)), name)
    first = [{"file": p.file, "index": p.index} for p in album.keep_first()]
    extreme = [{**picture, "realism": 1.5, "nearest": first[0]["file"]} for picture in first[:3]]
    return {"first": first, "lowest": extreme, "highest": extreme}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = RunFolder(tmp_path_factory.mktemp("runs") / HOSTILE.replace("/", "-"))
    run.begin({"sampler": "mine:make", "seed": 0, "value range": (-1, 1), "number of images": 5000})
    reference = Album(run, open_source(make_images(30, 16, 16)), "reference").keep_spread()
    about = Result(
        {"name": HOSTILE, "num_images": 5000, "skipped": []},
        {"name": "clean", "dims": 2048},
        {"name": "some weights", "official": False},
        {"platform": "cpu", "versions": {"jax": "0.10.2"}},
        (),
    )
    run.describe(about, reference)
    for step, fid in FIDS.items():
        pictures = pictures_of(run, f"step{step}", side=16 if step < 20000 else 300)
        run.add(make_entry(step, fid, pictures=pictures, precision=0.5 + step / 1e5))
    run.add(make_failure(15000))
    return run


@pytest.fixture(scope="module")
def page(run, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    assert main(["report", str(run.path), "-o", str(path)]) == 0
    return path


def test_page_names_what_the_numbers_are(page):
    text = page.read_text()
    for fact in (
        "Pillow&#39;s antialiased bicubic",
        "some weights",
        "5,000",
        "mine:make",
        "0.10.2",
    ):
        assert fact in text
    assert "Checkpoint step10000 has the best FID, 4 ± " in text
    assert "these values are no FIDs" in text
    assert "no score: NaN among images 0 to 7" in text


def test_page_is_one_file_and_names_are_text(page):
    text = page.read_text()
    assert HOSTILE not in text
    assert text.count("<script>") == 1
    assert "http" not in text.replace("http://www.w3.org/", "")  # names of XML, never fetched


def test_large_images_are_reduced(run, page):
    # Four sets of 14 and the reference; one set's are 300 pixels wide, 270 kB each as they are.
    assert page.stat().st_size < 2_000_000


def test_page_is_the_same_for_the_same_run(run):
    now = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    assert make_page(run, now=now) == make_page(RunFolder(run.path), now=now)
    assert "Made 2026-01-02 03:04 UTC by jaxfid" in make_page(run, now=now)


def test_lead_that_may_be_chance_is_said_to_be(tmp_path):
    run = RunFolder(tmp_path)
    for step, fid in ((1, 5.0), (2, 4.0), (3, 3.99)):
        run.add(make_entry(step, fid))
    text = make_page(run)
    assert "its lead over step2 is not more than chance may do" in text
    assert "inconclusive" in text


def test_run_with_neither_pictures_nor_error_bars(tmp_path):
    run = RunFolder(tmp_path)
    run.add(make_failure(1))
    assert "No checkpoint could be scored." in make_page(run)
    run.add(make_entry(2, 3.0, inception_score=7.0))
    text = make_page(run)
    assert "Samples" not in text
    assert "realism comes with <code>--metrics precision" in text


def test_nothing_to_report(tmp_path, capsys):
    with pytest.raises(InputError, match="expected finished checkpoints, found none"):
        make_page(RunFolder(tmp_path))
    assert main(["report", str(tmp_path), "-o", str(tmp_path / "no/such/report.html")]) == 2
    assert "expected a file in a folder that exists" in capsys.readouterr().err


def test_missing_picture_is_named(tmp_path):
    run = RunFolder(tmp_path)
    run.add(make_entry(1, 3.0, pictures={"first": [{"file": "gone/0.png", "index": 0}]}))
    with pytest.raises(InputError, match=r"gone/0\.png: cannot be read: .*No such file"):
        make_page(run)


# In the browser.


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if CHROMIUM is None:
        pytest.skip("no Chromium here; on Debian: apt-get install chromium")
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def opened(browser, page):
    browser.set_window(1280, 900, scheme="light")
    browser.errors.clear()
    browser.requests.clear()
    browser.open(page)
    yield browser
    assert browser.errors == []
    assert {url.split(":")[0] for url in browser.requests} == {"file", "data"}
    assert [url for url in browser.requests if url.startswith("file:")] == [page.as_uri()]


def column(browser, number):
    cells = f"[...document.querySelectorAll('#scores tbody tr')].map(r => r.children[{number}]?.textContent)"
    return [cell and cell.strip() for cell in browser.evaluate(cells)]


def click(browser, number):
    browser.evaluate(f"document.querySelectorAll('#scores thead button')[{number}].click()")


def test_every_image_loads(opened):
    images = "[...document.images].map(i => [i.complete, i.naturalWidth])"
    found = opened.evaluate(images)
    # Twelve and twice three of each set, with their nearest, and twelve of the reference.
    assert len(found) == 4 * (12 + 2 * 2 * 3) + 12
    assert all(complete and 0 < width <= 128 for complete, width in found)


def test_table_sorts_by_number_and_keeps_failures_last(opened):
    names = ["step1000", "step2000", "step10000", "step15000", "step20000"]
    assert column(opened, 0) == names
    click(opened, 2)  # FID
    by_fid = ["step10000", "step20000", "step2000", "step1000", "step15000"]
    assert column(opened, 0) == by_fid
    heads = "[...document.querySelectorAll('#scores th[aria-sort]')]"
    sorts = f"{heads}.map(h => [h.textContent.trim(), h.ariaSort])"
    assert opened.evaluate(sorts) == [["FID", "ascending"]]
    click(opened, 2)
    assert column(opened, 0) == [*by_fid[3::-1], "step15000"]
    assert opened.evaluate(sorts) == [["FID", "descending"]]
    click(opened, 0)
    assert column(opened, 0) == names


def test_point_of_a_curve_shows_its_value_and_its_row(opened):
    hidden = "document.getElementById('tip').hidden"
    lit = "[...document.querySelectorAll('tr.lit th')].map(h => h.textContent.trim())"
    assert opened.evaluate(hidden) is True
    opened.hover("#fid-row1 use")
    tip = opened.evaluate("document.getElementById('tip').textContent")
    assert tip.splitlines() == ["step2000", column(opened, 2)[1]]
    assert opened.evaluate(lit) == ["step2000"]
    opened.hover("h1")
    assert opened.evaluate(hidden) is True
    assert opened.evaluate(lit) == []


def luminance(colour):
    channels = np.array([int(part) for part in colour[4:-1].split(",")]) / 255
    linear = np.where(channels <= 0.03928, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def contrast(browser, selector, property="color"):
    pair = browser.evaluate(
        f"[getComputedStyle(document.querySelector({selector!r}))[{property!r}],"
        " getComputedStyle(document.body).backgroundColor]"
    )
    low, high = sorted(map(luminance, pair))
    return (high + 0.05) / (low + 0.05), luminance(pair[1])


@pytest.mark.parametrize("look", WIDTHS)
def test_look(opened, look):
    scheme = "dark" if look == "dark" else "light"
    opened.set_window(WIDTHS[look], 900, scheme=scheme, phone=look == "phone")
    for selector, property in (("h1", "color"), (".soft", "color"), ("#fid-axes_1 text", "fill")):
        ratio, paper = contrast(opened, selector, property)
        assert ratio >= 4.5  # WCAG's least for text
        assert (paper < 0.2) == (look == "dark")
    # Tables scroll inside; the page itself does not.
    root = "document.documentElement"
    assert opened.evaluate(f"{root}.scrollWidth - {root}.clientWidth") == 0
    screenshot = opened.take_screenshot()
    pixels = np.asarray(Image.open(io.BytesIO(screenshot)).convert("RGB"))
    assert pixels.shape[1] == WIDTHS[look]
    assert len(np.unique(pixels @ (1 << 16, 1 << 8, 1))) > 1000
    if folder := os.environ.get("JAXFID_SCREENSHOTS"):
        (Path(folder) / f"report-{look}.png").write_bytes(screenshot)


def test_facts_are_in_the_page_for_those_who_look(opened):
    groups = json.loads(
        opened.evaluate(
            "JSON.stringify(Object.fromEntries([...document.querySelectorAll('dl')].map("
            "l => [l.previousElementSibling.textContent, l.children.length / 2])))"
        )
    )
    assert groups["Reference"] == 2
    assert groups["What all scores depend on"] == 4
