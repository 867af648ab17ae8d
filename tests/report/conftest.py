"""Pages of entries that are made up."""

import pytest

from jaxfid.report.page import make_page
from jaxfid.report.run_folder import RunFolder


@pytest.fixture
def page_of(tmp_path):
    """From entries to the page of a run that has them, each in a folder of its own."""

    def make(entries):
        run = RunFolder(tmp_path / str(len(list(tmp_path.iterdir()))))
        run.path.mkdir()
        for entry in entries:
            run.add(entry)
        return make_page(run)

    return make
