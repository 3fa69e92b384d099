"""`python -m theory`: list, show, evaluate and check the statements."""

import sys

from theory.command_line import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
