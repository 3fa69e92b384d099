"""What an attack costs by itself: milliseconds of an engine step around a victim that costs nearly nothing."""

import jax
import jax.numpy as jnp
import numpy as np

from defenses.model import Model
from defenses.options.names import Choice
from sims.attacks.attack import Threat
from sims.attacks.table import build_attack
from sims.engine.run import Schedule, run_attack
from sims.victims.oracle import oracle_of

SHAPE, ROWS, STEPS, REPEATS = (32, 32, 3), 64, 1000, 3


def nearly_free() -> Model:
    """Two classes by the brightness of sixteen pixels."""

    def scores(weights, keys, rows):
        brightness = rows.reshape(len(rows), -1)[:, ::192] @ weights
        return jnp.stack([brightness, -brightness], axis=-1)

    return Model("sixteen pixels", jnp.ones(16), scores, 2)


def own_milliseconds(choice: Choice) -> float:
    """Median wall time of one engine step of ROWS rows, ms: every image in flight asks for one row and gets it.

    No image leaves before the end: decision attacks minimise their distance, the others have a ball too small.
    """
    model, labels = nearly_free(), np.zeros(ROWS, np.int32)
    images = np.asarray(jax.random.uniform(jax.random.key(1), (ROWS, *SHAPE), minval=0.55, maxval=0.95))
    method = choice.row
    norm = "linf" if "linf" in method.norms else "l2"
    decides = method.feedback == "label"
    threat = Threat(norm, float("inf") if decides else 1e-4, STEPS)
    oracle = oracle_of(model, method.feedback)
    attack, schedule = build_attack(choice, threat), Schedule(STEPS, ROWS, ROWS, chunk=STEPS)

    def timed() -> float:
        result = run_attack(
            jax.random.key(0), attack, oracle, images, labels, np.arange(ROWS), schedule, starts=1 - images
        )
        return 1000 * result.seconds * ROWS / (result.evaluated + result.padded)

    timed()  # compiles
    return float(np.median([timed() for _ in range(REPEATS)]))
