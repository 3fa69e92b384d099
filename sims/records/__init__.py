"""Records of runs: what is written, under which key, by whom at a time, and made of what. Imports no jax."""
