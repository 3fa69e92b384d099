"""`python -m theory`: list, show, evaluate and check the statements."""

import sys

if __name__ == "__main__":
    try:
        from theory.command_line import main

        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        print("interrupted; the same command starts again", file=sys.stderr)
        sys.exit(130)
