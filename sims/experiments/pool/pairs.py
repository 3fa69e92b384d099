"""The attacked images of one attack, made once and kept as a cell: by gradients, or by the engine's query attacks."""

from pathlib import Path

import jax
import numpy as np
import xarray as xr

from defenses.classifiers.classifier import Classifier
from defenses.data.dataset import Dataset, as_bytes, digest
from defenses.model import undefended
from defenses.purifiers.implicit import pairs
from defenses.purifiers.implicit.plans import Plan, taught_on
from sims.attacks.attack import Threat
from sims.attacks.table import build_attack, read_attack
from sims.engine.run import Schedule, run_attack
from sims.experiments.cells.cell import Cell, Computed
from sims.experiments.cells.modules import chosen_modules
from sims.experiments.cells.parts import in_parts, joined, pixels_in_parts
from sims.experiments.experiment import Context
from sims.victims.oracle import oracle_of

QUERY_BUDGET = 100  # of one training image
SCHEDULE = Schedule(QUERY_BUDGET)
PART = 1024  # images between two writes


def pairs_cell(name: str, plan: Plan, dataset: Dataset, victim: Classifier, seed: int, context: Context) -> Cell:
    """What the attack of that name makes of the plan's training images: pixels `attacked`, uint8."""
    chosen, rows = taught_on(plan, dataset), np.arange(plan.recipe.images)
    by_gradient = name in pairs.GRADIENT_ATTACKS
    question = {
        "cell": "attacked training images",
        "attack": name,
        "epsilon": plan.recipe.epsilon,
        "query_budget": None if by_gradient else QUERY_BUDGET,
        "seed": seed,
        "images": digest(chosen),
        "victim": dict(victim.origin),
    }

    def compute(states: Path) -> Computed:
        def of_part(part: slice, state: Path) -> Computed:
            def advance(finished: int, forwarded: int = 0) -> None:
                context.advance(f"training images under {name}", part.start + finished, len(rows))

            advance(0)
            images, labels = chosen.images[part], chosen.labels[part]
            if by_gradient:
                moved = pairs.attacked(name, victim, plan.recipe.epsilon, images, labels, seed + part.start)
            else:
                moved = _queried(name, plan, victim, images, labels, rows[part], seed, state / "run.npz", advance)
            return Computed(xr.Dataset(coords={"image": rows[part]}), {}, {"attacked": [moved]})

        starts = range(0, len(rows), PART)
        parts = in_parts(states, [slice(start, min(start + PART, len(rows))) for start in starts], of_part)
        return Computed(joined(parts), {}, {"attacked": pixels_in_parts(parts, "attacked")})

    modules = (__name__, *(() if by_gradient else chosen_modules(read_attack(name))))
    return Cell(f"training images under {name}", question, modules, compute)


def _queried(name, plan, victim, images, labels, ids, seed, state, advance) -> pairs.Attacked:
    """The final images of the query attack, which leaves an image as soon as it is adversarial."""
    threat = Threat("linf", plan.recipe.epsilon / 255, query_budget=QUERY_BUDGET)
    choice = read_attack(name)
    oracle = oracle_of(undefended(victim), choice.row.feedback)
    attack = build_attack(choice, threat)
    result = run_attack(jax.random.key(seed), attack, oracle, images, labels, ids, SCHEDULE, state, advance)
    return as_bytes(np.clip(result.images, 0, 1))
