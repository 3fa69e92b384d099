"""Simulations: oracles, attacks, the engine that runs them, and the experiments (`python -m sims`)."""
