"""The experiment bench: overhead, waste and own cost of attacks."""
