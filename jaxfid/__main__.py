"""`python -m jaxfid`, the same as the `jaxfid` command."""

import sys

from jaxfid.cli import main

sys.exit(main())
