"""Every function that takes images and labels from a caller refuses those with axes that mean something else."""

import jax
import numpy as np
import pytest

from defenses.data.dataset import Split
from defenses.evaluation import accuracy
from defenses.model import undefended
from sims.attacks.attack import Threat
from sims.measurements import local_geometry
from sims.measurements.fresh_draws import summed_scores, times_fooled, times_predicted
from sims.victims.oracle import oracle_of
from sims.victims.victim import Victim
from sims.white_box.restarts import AttackPlan, with_restarts
from sims.white_box.table import read_white_box
from tests.sims.small_victims import images, labels_of, linear_classifier

KEY, CLASSIFIER, IMAGES = jax.random.key(0), linear_classifier(), images(4)
MODEL, LABELS = undefended(CLASSIFIER), labels_of(CLASSIFIER, IMAGES)
PLAN = AttackPlan(Threat("linf", 0.1), tile=4, rows=4)
OF_IMAGES = {
    "times_predicted": lambda x, y: times_predicted(KEY, oracle_of(MODEL, "label"), x, 1, 4),
    "summed_scores": lambda x, y: summed_scores(KEY, oracle_of(MODEL, "scores"), x, 1, 4),
}
OF_BOTH = {
    "times_fooled": lambda x, y: times_fooled(KEY, oracle_of(MODEL, "loss"), x, y, 1, 4),
    "geometry": lambda x, y: local_geometry.measure(KEY, MODEL, x, y, 2),
    "variance": lambda x, y: local_geometry.loss_variance(MODEL)(KEY, MODEL.params, x, y, 2),
    "accuracy": lambda x, y: accuracy(MODEL, Split(x, y), 0),
    "white-box": lambda x, y: with_restarts(
        KEY, read_white_box("fgsm"), PLAN, Victim({}, {}, x, y, np.arange(4)), MODEL
    ),
}


@pytest.mark.parametrize("measure", [*OF_IMAGES.values(), *OF_BOTH.values()], ids=[*OF_IMAGES, *OF_BOTH])
def test_channels_do_not_come_first(measure):
    with pytest.raises(ValueError, match=r"images must be \(n, h, w, c\), at least one, got \(4, 1, 6, 6\): channels"):
        measure(np.moveaxis(IMAGES, -1, 1), LABELS)


@pytest.mark.parametrize("measure", OF_BOTH.values(), ids=OF_BOTH.keys())
def test_labels_are_no_rows_of_a_table(measure):
    with pytest.raises(ValueError, match=r"labels must have .* got \(4, 4\): one-hot\?"):
        measure(IMAGES, np.eye(4, dtype=np.int32)[LABELS])
