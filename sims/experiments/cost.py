"""Cost: what an answer of a defended network costs beside one of the network alone, timed in turn in one process."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
import xarray as xr

from defenses.model import Model
from defenses.purifiers.table import Chain, DefenseOptions, defense_choices
from sims.experiments.experiment import Context, Experiment, Plan, check_common
from sims.measurements.timing import in_turn
from sims.victims.victim import (
    Victim,
    VictimOptions,
    check_one_model,
    load_victim,
    seconds_per_row,
    victim_inputs,
    victim_names,
)

MEMBERS = "members"
PASSES = 4  # of the network, which a defended answer may well cost


@dataclass(frozen=True)
class Config:
    """Seconds of an answer behind each defence, as ratios to the network alone."""

    victim: tyro.conf.OmitArgPrefixes[VictimOptions] = field(default_factory=VictimOptions)
    defenses: DefenseOptions = defense_choices("purifier", "random-purifier", "local-purifier", "average-purifier")
    """Defences that are timed."""
    images: int = 128
    """Images of one call."""
    rounds: int = 21
    """Rounds, in each of which every model is called once; medians count."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Raise ValueError naming the first setting outside its range."""
        check_common(self, "defenses", images=1, rounds=3)
        check_one_model(self.victim)


def plan(config: Config) -> Plan:
    """Rows of all calls; time as if every defence cost as much as a few networks."""
    rows = (1 + len(victim_names(config.victim, config.defenses))) * config.images * (1 + config.rounds)
    return Plan(rows, PASSES * rows * seconds_per_row(config.victim), 1500)


def run(config: Config, context: Context) -> tuple[xr.Dataset, dict[str, Any]]:
    """Call every model once a round, after a first call that compiles."""
    victim = load_victim(config.victim, config.defenses, config.images, context.folders, config.seed)
    calls = {"network": _call(victim, victim.network, config.seed)}
    calls |= {name: _call(victim, model, config.seed) for name, model in victim.models.items()}
    seconds = in_turn(list(calls.values()), config.rounds, partial(context.advance, "rounds"))
    kinds, members = zip(("network", 0), *map(_kind_and_members, config.defenses), strict=True)
    data = {
        "seconds": (("round", "model"), seconds / config.images, {"long_name": "time of one image", "units": "s"}),
        "kind": ("model", list(kinds), {"long_name": "the defence, whatever its number of members"}),
        "members": ("model", list(members), {"long_name": "number of members, 0 where there is none"}),
    }
    return xr.Dataset(data, {"model": list(calls)}), {}


def _kind_and_members(chain: Chain) -> tuple[str, int]:
    """The chain with its default number of members, and the number that it has; 0 where it has none or is one."""
    *rest, last = chain.parts
    alone = getattr(last.settings, "assignment", "") == "member"
    if rest or alone or not hasattr(last.settings, MEMBERS):
        return str(chain), 0
    usual = replace(last, settings=replace(last.settings, members=getattr(type(last.settings)(), MEMBERS)))
    return str(usual), getattr(last.settings, MEMBERS)


def _call(victim: Victim, model: Model, seed: int) -> Callable[[], Any]:
    keys, images = jax.random.split(jax.random.key(seed), len(victim.ids)), jnp.asarray(victim.images)
    scores = jax.jit(model.scores)
    return lambda: jax.block_until_ready(scores(model.params, keys, images))


def report(data: xr.Dataset, manifest: dict[str, Any]) -> dict[str, Any]:
    """A row per model: milliseconds of an image, and its time over the network's in the same round, with quartiles."""
    rows = []
    for name in data.model.values:
        mine = data.seconds.sel(model=name)
        low, middle, high = np.quantile(mine / data.seconds.sel(model="network"), [0.25, 0.5, 0.75])
        rows.append(
            {
                "model": str(name),
                "milliseconds": float(1000 * np.median(mine)),
                "ratio": float(middle),
                "quartiles": [float(low), float(high)],
            }
        )
    return {"rows": rows}


EXPERIMENT = Experiment(Config, plan, run, report, victim_inputs)
