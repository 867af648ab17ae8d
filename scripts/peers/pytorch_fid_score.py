"""Runs pytorch-fid's own command line, its weights from a file if one is given.

pytorch_fid_score.py WEIGHTS|- ARGUMENTS OF python -m pytorch_fid
"""

import sys

from offline import use_weights_file

if __name__ == "__main__":
    weights = sys.argv.pop(1)
    use_weights_file(None if weights == "-" else weights)
    from pytorch_fid.fid_score import main

    main()
