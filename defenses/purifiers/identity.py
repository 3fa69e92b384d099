"""No defence."""

from defenses.defense import Defense


def identity() -> Defense:
    """The undefended victim: images pass unchanged."""
    return Defense("none", {}, lambda params, keys, images: images, False)
