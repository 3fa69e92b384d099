"""Readers of files that others wrote: checkpoints, pickles, idx, pictures. Nothing in a file is ever executed."""
