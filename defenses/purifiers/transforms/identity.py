"""No defence."""

from defenses.defense import Defense
from defenses.purifiers.method import Method, NoSettings


def identity() -> Defense:
    """The undefended victim: images pass unchanged."""
    return Defense("none", {}, lambda params, keys, images: images, False)


METHOD = Method(NoSettings, lambda settings, _: identity(), "the undefended classifier")
