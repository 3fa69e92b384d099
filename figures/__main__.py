"""`python -m figures`: list the figures; `python -m figures NAME…`, `all` or `summary`: make them."""

import sys

from figures.command_line import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
