"""White-box attacks: they see the gradient of the victim, and stand apart from the query attacks, which must not."""
