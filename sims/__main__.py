"""`python -m sims`: list the experiments; `python -m sims NAME [options]`: run one."""

import sys

from sims.command_line import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
