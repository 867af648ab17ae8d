"""The command `report`: from the folder of a comparison to a page."""

import argparse

from jaxfid.cli.options import check_output
from jaxfid.cli.output import print_line
from jaxfid.storage.files import write_file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `report`."""
    parser.add_argument("folder", metavar="RUN", help="the folder that compare wrote to")
    parser.add_argument("-o", "--output", required=True, metavar="report.html")


def run(options: argparse.Namespace) -> None:
    """Runs `report`.

    Raises:
      InputError: The folder holds no comparison, or the page cannot be written.
    """
    check_output(options.output)  # before the page is drawn, not after it
    from jaxfid.report.page import make_page
    from jaxfid.report.run_folder import RunFolder

    write_file(options.output, make_page(RunFolder(options.folder)))
    print_line(f"{options.output}: written")
