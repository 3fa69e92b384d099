"""The commands of `python -m defenses`, one per file: options as a frozen dataclass, `run` to do it."""
