"""``python -m rsbounds``: the command line."""

import sys

from rsbounds.cli import main

if __name__ == "__main__":
    sys.exit(main())
