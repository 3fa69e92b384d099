"""`python -m figures`: list the figures; `python -m figures NAME…`, `all` or `summary`: make them."""

import sys

if __name__ == "__main__":
    try:
        from figures.command_line import main

        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("interrupted; the same command starts again", file=sys.stderr)
        sys.exit(130)
