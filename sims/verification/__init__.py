"""The rows of `verify`: one file per section of the theory, and the negative controls."""
