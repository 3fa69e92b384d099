"""`python -m defenses`: list, train and evaluate classifiers and defences."""

import sys

from defenses.command_line import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
