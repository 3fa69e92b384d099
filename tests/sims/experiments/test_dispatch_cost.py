"""Many purifiers, a patch each, cost what one does."""

import pytest

from sims.experiments.bench.dispatch_cost import dispatch_ratios


@pytest.mark.slow
@pytest.mark.as_users_compile
def test_sixteen_members_cost_what_one_does():
    for name, ratio, limit in dispatch_ratios(seed=0):
        assert "2,048 patches" in name
        assert ratio <= limit, name
