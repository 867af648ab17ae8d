"""The page of a sweep: settings as columns, a curve for each combination, a heat map for two settings."""

import dataclasses
import io
import re

import numpy as np
import pytest
from PIL import Image

from jaxfid.report.axes import choose_axis
from jaxfid.report.entries import Picture
from jaxfid.report.heat_map import make_heat_map
from jaxfid.report.models import find_models
from jaxfid.report.page import make_page
from jaxfid.report.run_folder import RunFolder
from jaxfid.report.scalars import iter_scalars
from jaxfid.report.swept import name_row
from tests.report.entries import make_entry, make_failure


def draw(step, fid, *, noise=None, own="step{step}.msgpack", **settings):
    name = name_row(own.format(step=step), settings, noise)
    return make_entry(step, fid, name=name, noise_seed=noise, swept=settings)


def grid(steps=(10, 20), noises=(None,)):
    return [
        draw(
            step,
            100 / step + abs(cfg - 1.5) + ema + (noise or 0) / 10,
            noise=noise,
            cfg=cfg,
            ema=ema,
        )
        for step in steps
        for cfg in (1.0, 1.5, 10.0)
        for ema in (0.9, 0.99)
        for noise in noises
    ]


def test_steps_lie_along_the_curves_where_there_are_several():
    entries = grid()
    axis = choose_axis(entries)
    assert (axis.label, axis.groups) == ("step", ("cfg", "ema"))
    assert [axis.place(entries[0]), axis.group(entries[0])] == [10, "cfg 1, ema 0.9"]


def test_else_the_setting_with_most_numbers_does():
    entries = grid(steps=(10,))
    axis = choose_axis(entries)
    assert (axis.label, axis.groups, axis.own_names) == ("cfg", ("ema",), False)
    assert [axis.place(entries[2]), axis.group(entries[2])] == [1.5, "ema 0.9"]
    named = [draw(None, 1.0, own=own, cfg=cfg) for own in ("best", "last") for cfg in (1, 2)]
    assert [choose_axis(named).group(entry) for entry in named] == ["best", "best", "last", "last"]
    words = [draw(10, 1.0, mode=mode, only=1) for mode in ("fast", "slow")]
    assert choose_axis(words) == (None, ("mode",), False)
    assert not choose_axis([draw(10, 1.0, cfg=1), draw(20, 1.0, cfg=1)]).is_swept


def test_heat_map_is_of_the_best_ones_checkpoint():
    found = make_heat_map("fid", [*grid(), make_failure(30)], [])
    assert found.caption == "at checkpoint step20"
    assert found.columns == ["1", "1.5", "10"]
    assert [value for value, _ in found.rows] == ["0.9", "0.99"]
    values = [[float(cell.value) for cell in cells] for _, cells in found.rows]
    assert values == [[6.4, 5.9, 14.4], [6.49, 5.99, 14.49]]
    assert [cell.error for cell in found.rows[0][1]] == ["\N{PLUS-MINUS SIGN} 0.050"] * 3
    assert [(cell.percent, cell.best) for cell in found.rows[0][1]][1] == (60, True)
    # The deeper the better, and nothing under the worst.
    depths = [cell.percent for _, cells in found.rows for cell in cells]
    by_value = sorted(zip([*values[0], *values[1]], depths, strict=True))
    assert [depth for _, depth in by_value] == sorted(depths, reverse=True)
    assert by_value[-1][1] == 0


def test_heat_map_shows_means_over_replicates():
    entries = grid(noises=(0, 1, 2))
    found = make_heat_map("fid", entries, find_models(entries))
    assert found.caption == "at step 20, mean over 3 noise seeds"
    assert float(found.rows[0][1][1].value) == pytest.approx(6.0)  # the middle one of three
    assert make_heat_map("kid", entries, find_models(entries)) is None


def test_one_setting_or_three_have_no_heat_map():
    assert make_heat_map("fid", [draw(10, 1.0, cfg=cfg) for cfg in (1, 2)], []) is None
    three = [draw(10, 1.0, cfg=cfg, ema=ema, t=cfg) for cfg in (1, 2) for ema in (1, 2)]
    assert make_heat_map("fid", three, []) is None


def test_a_missing_combination_is_an_empty_cell():
    found = make_heat_map("fid", grid(steps=(10,))[:-1], [])
    assert found.rows[1][1][2].value == ""


def test_page_has_columns_curves_and_the_map(page_of):
    text = page_of(grid())
    assert '<button type="button">cfg</button>' in text
    assert re.search(
        r">step10</th>\s*<td data-key=\"1.5\">1.5</td>\s*<td data-key=\"0.9\">0.9</td>", text
    )
    assert "<h2>Over cfg and ema</h2>" in text
    assert text.count('class="line c') == 6
    assert "cfg 1.5, ema 0.99</li>" in text
    assert "bars \N{PLUS-MINUS SIGN} 2 standard errors" in text
    assert "var(--c5)" in text and "#0405" not in text
    assert "Checkpoint step20 cfg=1.5 ema=0.9 has the lowest FID" in text


def test_draws_share_their_combinations_curve_and_one_of_them_is_shown(page_of):
    text = page_of(grid(noises=(0, 1)))
    assert "</span>each draw</li>" in text
    assert text.count('class="line c') == 6
    assert "lines through means" in text
    assert 'class="scroll"' in text
    assert 'class="scroll long"' not in text
    assert 'class="scroll long"' in page_of(grid(noises=range(5)))


def test_names_of_settings_are_escaped(page_of):
    text = page_of([draw(10, 1.0, **{"<b>": "<i>"}), draw(20, 2.0, **{"<b>": "\u202ex"})])
    assert "<b>" not in text.split("</header>")[1].split("figcaption")[0]
    assert "&lt;b&gt;" in text and "&lt;i&gt;" in text
    assert "\u202e" not in text


def test_more_curves_than_colours_have_dashes(page_of):
    entries = [draw(step, float(cfg + 1), cfg=cfg) for step in (1, 2) for cfg in range(10)]
    assert page_of(entries[:8] + entries[10:18]).count("stroke-dasharray") == 0
    assert page_of(entries).count("stroke-dasharray") == 2


def test_of_several_draws_the_samples_of_one_are_shown(tmp_path):
    run = RunFolder(tmp_path)
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(buffer, "PNG")
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.png").write_bytes(buffer.getvalue())
    first = {"first": [Picture("a.png", 0)]}
    for entry in grid(steps=(10,), noises=(3, 1)):
        run.add(dataclasses.replace(entry, pictures=first))
    samples = make_page(run).split('id="samples-title"')[1]
    assert "The first images drawn from noise seed 1" in samples
    names = re.findall(r'<th scope="row" title="[^"]*">([^<]*)</th>', samples)
    assert names[:2] == ["step10 cfg=1 ema=0.9", "step10 cfg=1 ema=0.99"]
    assert len(names) == 6


def test_the_headline_names_few_of_many_that_are_not_told_apart(page_of):
    entries = [draw(10, 1 + cfg / 1000, cfg=cfg, ema=0.9) for cfg in range(7)]
    text = page_of(entries)
    assert re.search(r"its lead over ([^,]*, ){2}[^,]* and 3 others is not more than chance", text)


def test_scalars_have_a_curve_for_each_combination():
    scalars = dict(iter_scalars(draw(10, 1.0, cfg=1.5, noise=2)))
    assert scalars["jaxfid/fid/cfg=1.5/noise 2"] == 1.0
