"""The experiments, one file each; every one is a command of `python -m sims`."""
