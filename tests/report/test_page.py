"""The page of a comparison, as text and in a browser."""

import base64
import collections
import dataclasses
import html.parser
import io
import json
import math
import os
import re
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxfid.cli import main
from jaxfid.errors import InputError
from jaxfid.images.sources import open_source
from jaxfid.report.curves import Point, draw_curve
from jaxfid.report.embed import THUMBNAIL_PX
from jaxfid.report.page import make_page
from jaxfid.report.pictures import Album
from jaxfid.report.run_folder import RunFolder
from jaxfid.report.tables import format_csv
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
    # No word of an FID above: the weights are not official.
    assert "Checkpoint step10000 has the lowest Frechet distance of these features, 4" in text
    assert "protocol clean; 2048 features; weights some weights, which are not the official" in text
    assert "these values are no FIDs" in text
    assert "no score: NaN among images 0 to 7" in text


def test_page_is_one_file_and_names_are_text(page):
    text = page.read_text()
    assert HOSTILE not in text
    assert text.count("<script>") == 1
    # Names of XML, never fetched; and the policy's attribute.
    assert "http" not in text.replace("http://www.w3.org/", "").replace("http-equiv", "")


NASTY = [
    "<script>alert(1)</script>",
    'fid"><script>alert(1)</script>',
    "'><img src=x onerror=alert(1)>",
    "</style><script>alert(1)</script>",
    "{{ 7 * 7 }}{% include 'page.js' %}",
    "$\\frac{$",
    "javascript:alert(1)",
    "a\udcff\x00\x1b[2J",
    "\u56fe \u0645\u0631\u062d\u0628\u0627",
    "\u202etxt.exe",
]


def hostile_run(path, nasty):
    """A run whose every field is called so: of the checkpoint, of the metric, of what it depends on."""
    run = RunFolder(path)
    image = np.full((9, 9, 3), 200, np.uint8)
    pictures = pictures_of(run, nasty, side=9)
    entry = make_entry(1, 3.0, name=nasty, pictures=pictures, **{nasty: 1.5})
    scores = dataclasses.replace(entry.scores, warnings=[nasty, f"{nasty}: {nasty}"])
    unknown = dataclasses.replace(
        make_entry(None, 2.0, name=f"{nasty} 2", run=nasty), scores=scores
    )
    failed = dataclasses.replace(make_failure(3), name=f"{nasty} 3", failure=nasty)
    run.begin({nasty: nasty, "sampler": {nasty: [nasty]}})
    entries = (dataclasses.replace(entry, scores=scores), unknown, failed)
    for one in entries:
        run.add(one)
    named = {"name": nasty, nasty: nasty}
    run.describe(Result(named, named, named, {"versions": named, nasty: nasty}, ()), [])
    return RunFolder(path), image


@pytest.mark.parametrize("nasty", NASTY)
def test_hostile_names_are_text_in_every_field(tmp_path, nasty):
    run, _ = hostile_run(tmp_path / "run", nasty)
    text = make_page(run)
    assert text.encode().decode() == text  # no lone surrogates
    tags = Tags(text)
    assert tags.names["script"] == 1
    assert not [name for name, _ in tags.attributes if name.startswith("on")]
    # Nothing that is fetched or run: pictures, the table and parts of the curves are in the page.
    places = [value for name, value in tags.attributes if name in ("src", "href", "xlink:href")]
    assert {value.split(":")[0] for value in places if not value.startswith("#")} == {"data"}
    identifiers = [value for name, value in tags.attributes if name == "id"]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", value) for value in identifiers)
    assert len(set(identifiers)) == len(identifiers)


class Tags(html.parser.HTMLParser):
    """Counts of the elements of a page, and all of its attributes."""

    def __init__(self, text):
        super().__init__()
        self.names, self.attributes = collections.Counter(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names[tag] += 1
        self.attributes += attrs


def test_picture_of_a_format_that_starts_other_programs_is_refused(tmp_path):
    run = RunFolder(tmp_path)
    run.add(make_entry(1, 3.0, pictures={"first": [{"file": "a.png", "index": 0}]}))
    image = io.BytesIO()
    Image.new("RGB", (8, 8)).save(image, "EPS")
    run.write("images/a.png", image.getvalue())
    with pytest.raises(InputError, match=r"a\.png: expected an image that Pillow reads, found"):
        make_page(run)


def test_picture_that_is_a_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("jaxfid.report.run_folder.MAX_PICTURE_BYTES", 1000)
    run = RunFolder(tmp_path)
    run.add(make_entry(1, 3.0, pictures={"first": [{"file": "a.png", "index": 0}]}))
    run.write("images/a.png", bytes(1001))
    with pytest.raises(InputError, match=r"a\.png: expected at most 1000 bytes"):
        make_page(run)
    image = io.BytesIO()
    Image.new("1", (20, 21)).save(image, "PNG")
    monkeypatch.undo()
    monkeypatch.setenv("JAXFID_MAX_IMAGE_PIXELS", "419")
    run.write("images/a.png", image.getvalue())
    with pytest.raises(InputError, match=r"a\.png: .* at most 419 pixels"):
        make_page(run)


def test_page_of_a_run_in_a_bucket():
    run = RunFolder("memory://pages/my-run")
    run.add(make_entry(1, 3.0, pictures=pictures_of(run, "step1", side=8)))
    text = make_page(RunFolder("memory://pages/my-run"))
    assert "<title>jaxfid: my-run</title>" in text
    assert text.count("data:image/png") == 12 + 2 * 3 * 2


def test_ties_all_stand_out_but_not_where_everything_ties(tmp_path):
    run = RunFolder(tmp_path)
    for step, fid, precision in ((1, 5.0, 0.0), (2, 4.0, 0.0), (3, 4.0, 0.0)):
        run.add(make_entry(step, fid, precision=precision))
    text = make_page(run)
    assert re.search(
        r"The lowest FID is that of several checkpoints, 4.* ± 0.050: step2 and step3.", text
    )
    cells = re.findall(r'<td( class="best")? data-column="(\d)"', text)
    assert [(bool(best), column) for best, column in cells] == [
        (False, "0"), (False, "1"), (True, "0"), (False, "1"), (True, "0"), (False, "1"),
    ]  # fmt: skip


def test_value_that_is_no_number_is_not_the_best(tmp_path):
    run = RunFolder(tmp_path)
    run.add(make_entry(1, math.nan))
    run.add(make_entry(2, 4.0))
    for shown in (run, RunFolder(tmp_path)):
        assert "Checkpoint step2 has the lowest FID, 4" in make_page(shown)


def test_official_weights_make_an_fid(tmp_path):
    run = RunFolder(tmp_path)
    weights = {"name": "inception", "official": True}
    run.describe(Result({"name": "r"}, {}, weights, {}, ()), [])
    run.add(make_entry(1, 4.0))
    text = make_page(run)
    assert "Checkpoint step1 has the lowest FID, 4" in text
    assert "which are not the official" not in text


def test_runs_of_one_model_lie_over_each_other(tmp_path):
    run = RunFolder(tmp_path)
    for seed in range(3):
        for step in (10, 20):
            name = f"seed{seed}/{step}"
            run.add(make_entry(step, 10.0 - step / 10 + seed, name=name, run=f"seed{seed}"))
    text = make_page(run)
    for words in ("each run", "mean of the runs", "1 standard deviation between runs"):
        assert f">{words}<" in text
    assert text.count('class="legend"') == 1


def test_replicates_fit_a_phone(browser, tmp_path):
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    for step in (1000, 20000):
        for seed in range(3):
            named = {"run": f"runs/seed{seed}", "name": f"runs/seed{seed}/step{step}"}
            run.add(make_entry(step, 10.0 + seed / 10, kid=0.1 + seed / 100, **named))
    page = tmp_path / "report.html"
    page.write_text(make_page(run))
    browser.set_window(390, 844, scheme="light", phone=True)
    browser.open(page)
    root = "document.documentElement"
    assert browser.evaluate(f"{root}.scrollWidth - {root}.clientWidth") == 0
    # Nothing of a legend lies outside its figure.
    assert browser.evaluate(
        "[...document.querySelectorAll('.legend li')].every((e) => e.getBoundingClientRect().right"
        " <= e.closest('figure').getBoundingClientRect().right)"
    )


def test_checkpoint_without_a_step_is_left_out_of_a_curve_over_steps(tmp_path):
    run = RunFolder(tmp_path)
    for step, name in ((10, "10"), (20, "20"), (None, "best")):
        run.add(make_entry(step, 5.0, name=name))
    text = make_page(run)
    assert "; 1 without a step left out" in text
    assert len(re.findall(r'id="chart0-row\d"', text)) == 2
    only = RunFolder(tmp_path / "only")
    for name in ("best", "last"):
        only.add(make_entry(None, 5.0, name=name))
    text = make_page(only)
    assert "left out" not in text
    assert len(re.findall(r'id="chart0-row\d"', text)) == 2


def test_table_can_be_downloaded(run, page):
    (csv,) = re.findall(r'href="data:text/csv;charset=utf-8;base64,([^"]*)"', page.read_text())
    assert base64.b64decode(csv).decode() == format_csv(run.entries)


def test_ticks_fall_on_checkpoints():
    steps = [0, 1000, 1500, 9000, 10_000, *range(11_000, 60_000, 500)]
    points = [Point(f"row{i}", str(step), step, float(i)) for i, step in enumerate(steps)]
    svg = draw_curve(points, prefix="chart0")
    labels = [int(text) for text in re.findall(r">(\d{1,6})</text>", svg) if int(text) in steps]
    assert {0, steps[-1]} <= set(labels)
    assert 3 <= len([label for label in labels if label > 200]) <= 9


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
    # Twelve and twice three of each set, with their nearest, and twelve of the reference; two side by side.
    assert len(found) == 4 * (12 + 2 * 2 * 3) + 12 + 2 * 12
    assert all(complete and 0 < width <= THUMBNAIL_PX for complete, width in found)


def test_table_sorts_by_number_and_keeps_failures_last(opened):
    names = ["step1000", "step2000", "step10000", "step15000", "step20000"]
    assert column(opened, 0) == names
    click(opened, 1)  # FID
    by_fid = ["step10000", "step20000", "step2000", "step1000", "step15000"]
    assert column(opened, 0) == by_fid
    heads = "[...document.querySelectorAll('#scores th[aria-sort]')]"
    sorts = f"{heads}.map(h => [h.textContent.trim(), h.ariaSort])"
    assert opened.evaluate(sorts) == [["FID", "ascending"]]
    click(opened, 1)
    assert column(opened, 0) == [*by_fid[3::-1], "step15000"]
    assert opened.evaluate(sorts) == [["FID", "descending"]]
    click(opened, 0)
    assert column(opened, 0) == names


def test_point_of_a_curve_shows_its_value_and_its_row(opened):
    hidden = "document.getElementById('tip').hidden"
    lit = "[...document.querySelectorAll('tr.lit th')].map(h => h.textContent.trim())"
    assert opened.evaluate(hidden) is True
    opened.hover("#chart0-row1 use")
    tip = opened.evaluate("document.getElementById('tip').textContent")
    assert tip.splitlines() == ["step2000", column(opened, 1)[1]]
    assert opened.evaluate(lit) == ["step2000"]
    opened.hover("h1")
    assert opened.evaluate(hidden) is True
    assert opened.evaluate(lit) == []


def test_every_column_sorts(opened):
    for number in range(opened.evaluate("document.querySelectorAll('#scores thead th').length")):
        click(opened, number)
        keys = "[...document.querySelectorAll('#scores tbody tr')].map(r => r.children[%d]?.dataset.key)"
        found = [key for key in opened.evaluate(keys % number) if key]
        if number:
            assert found == sorted(found, key=float)
    assert opened.evaluate("document.querySelector('#row0 [data-column]').title") == "60.0"


def test_picture_enlarges_on_a_click_and_closes_on_another(opened):
    large = "document.getElementById('large')"
    opened.evaluate("document.querySelector('#samples .zoom').click()")
    assert opened.evaluate(f"{large}.open") is True
    assert opened.evaluate(f"{large}.querySelector('p').textContent") == "image 0 of step1000"
    assert opened.evaluate(f"{large}.querySelector('img').width") > 300
    opened.evaluate(f"{large}.querySelector('img').click()")
    assert opened.evaluate(f"{large}.open") is False


def test_two_checkpoints_stand_side_by_side(opened):
    captions = "[...document.querySelectorAll('#pairs figcaption')].map(c => c.textContent)"
    left, right = opened.evaluate(captions)
    assert (left.split(",")[0], right.split(",")[0]) == ("step10000", "step20000")
    opened.evaluate(
        "(() => { const s = document.getElementById('left'); s.value = 'row0';"
        " s.dispatchEvent(new Event('change')) })()"
    )
    left, right = opened.evaluate(captions)
    assert left.startswith("step1000, FID 60")
    assert right.startswith("step20000, ")
    assert opened.evaluate("document.querySelectorAll('#pairs img').length") == 24


def test_names_leave_room_for_the_score_on_a_phone(opened):
    opened.set_window(390, 900, scheme="light", phone=True)
    right = "document.querySelector('#row0 [data-column=\"0\"]').getBoundingClientRect().right"
    assert opened.evaluate(right) < 390


def test_no_script_but_the_pages_own_runs(opened):
    opened.evaluate(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
        " document.body.append(s); const i = document.createElement('img');"
        " i.setAttribute('onerror', 'window.ran = 1'); i.src = 'data:,'; document.body.append(i) })()"
    )
    assert opened.evaluate("new Promise(r => setTimeout(() => r(window.ran ?? 0), 100))") in (
        None,
        0,
        {},
    )
    assert opened.evaluate("window.ran ?? 0") == 0
    assert any("Content Security Policy" in error for error in opened.errors)
    opened.errors.clear()


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
    for selector, property in (
        ("h1", "color"),
        (".soft", "color"),
        ("#chart0-axes_1 text", "fill"),
    ):
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
