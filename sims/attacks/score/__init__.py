"""Query attacks that see scores: the margin of a class."""
