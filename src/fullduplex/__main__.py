"""`python -m fullduplex`."""

import sys

from fullduplex.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
