"""What a cell reads, by hashes: the pictures it looks at, and the model that answers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from defenses.classifiers.architectures import ARCHITECTURES
from defenses.data.dataset import Split, digest
from defenses.options.names import Choice
from defenses.own.source import own_sources
from defenses.purifiers.table import Chain
from sims.engine.checkpoint import fingerprint
from sims.records.store import file_digest
from sims.victims.victim import Victim


def pictures_hash(victim: Victim, *further: np.ndarray) -> str:
    """Of the victim's pixels, labels and ids, and of what else is given for every image."""
    return fingerprint(digest(Split(victim.pictures, victim.labels)), victim.ids, *further)


def model_question(victim: Victim, name: str, chosen: tuple[Any, ...]) -> dict[str, Any]:
    """Of the victim's model of that name: what was chosen, the numbers in it, their origin, and a user's files.

    chosen: a classifier and a chain of defences, or the address of a service, which has nothing to hash. The origin
    says the normalisation and the order of the classes, which are in no number.
    """
    parts = [part for one in chosen for part in (one.parts if isinstance(one, Chain) else [one])]
    files = sorted({file for part in parts if isinstance(part, Choice) for file in own_sources(part)})
    leaves = jax.tree.leaves(victim.models[name].params)
    numbers = [np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf) for leaf in leaves]
    return {
        "chosen": list(map(str, chosen)),
        "built": [_arguments(part) for part in parts if isinstance(part, Choice)],
        "params": fingerprint(*numbers),
        "origin": dict(victim.origins.get(name, {})),
        "files": {str(file): file_digest(file) for file in files},
    }


def _arguments(choice: Choice) -> list[str]:
    """What the table gives to an architecture's builder: its rows are in no code that counts."""
    build = ARCHITECTURES[choice.name].build if choice.name in ARCHITECTURES else None
    return [str(one) for one in getattr(build, "args", ()) if isinstance(one, str | int | float)]


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(leaf), jax.dtypes.prng_key)
