"""What a cell reads, by hashes: the pictures it looks at, and the model that answers."""

from typing import Any

import jax
import numpy as np

from defenses.classifiers.architectures import ARCHITECTURES
from defenses.data.dataset import Split, digest
from defenses.options.names import Choice
from defenses.purifiers.table import Chain
from sims.engine.checkpoint import fingerprint
from sims.victims.victim import Victim, own_files


def pictures_hash(victim: Victim, *further: np.ndarray) -> str:
    """Of the victim's pixels, labels and ids, and of what else is given for every image."""
    return fingerprint(digest(Split(victim.pictures, victim.labels)), victim.ids, *further)


def model_question(victim: Victim, name: str) -> dict[str, Any]:
    """Of the victim's model of that name: what was chosen, the numbers in it, their origin, and a user's files.

    A service has nothing to hash but its address. The origin says the normalisation and the order of the classes, which
    are in no number.
    """
    chosen = victim.chosen[name]
    parts = [part for one in chosen for part in (one.parts if isinstance(one, Chain) else [one])]
    choices = [part for part in parts if isinstance(part, Choice)]
    return {
        "chosen": list(map(str, chosen)),
        "built": list(map(_arguments, choices)),
        "params": fingerprint(*jax.tree.leaves(victim.models[name].params)),
        "origin": dict(victim.origins.get(name, {})),
        "files": own_files(choices),
    }


def _arguments(choice: Choice) -> list[str]:
    """What the table gives to an architecture's builder: its rows are in no code that counts."""
    build = ARCHITECTURES[choice.name].build if choice.name in ARCHITECTURES else None
    return [str(one) for one in getattr(build, "args", ()) if isinstance(one, str | int | float)]
