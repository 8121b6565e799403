"""``python -m rsbounds``: the command line."""

import sys

from rsbounds.commands import main

if __name__ == "__main__":
    sys.exit(main())
