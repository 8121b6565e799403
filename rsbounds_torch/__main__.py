"""``python -m rsbounds_torch``: the command line, also under torchrun."""

import sys

from rsbounds_torch.commands import main

if __name__ == "__main__":
    sys.exit(main())
