"""Learning rates as functions of the step."""

from collections.abc import Callable

import optax


def multistep(learning_rate: float, steps: int, steps_per_epoch: int) -> optax.Schedule:
    """The rate, a tenth of it from half of the steps on, a hundredth from three quarters on.

    Source: He et al., Deep Residual Learning for Image Recognition (2016), section 4.2.
    """
    return optax.piecewise_constant_schedule(learning_rate, {steps // 2: 0.1, 3 * steps // 4: 0.1})


def cosine(learning_rate: float, steps: int, steps_per_epoch: int) -> optax.Schedule:
    """Linear from 0 to the rate over one epoch, or a tenth of the steps if that is less; then half a cosine to 0.

    Sources: Loshchilov and Hutter, SGDR (2017), without restarts; warm-up of Goyal et al., Accurate, Large
    Minibatch SGD (2017).
    """
    warm_up = max(1, min(steps_per_epoch, steps // 10))
    return optax.warmup_cosine_decay_schedule(0.0, learning_rate, warm_up, max(steps, warm_up + 1))


SCHEDULES: dict[str, Callable[[float, int, int], optax.Schedule]] = {"multistep": multistep, "cosine": cosine}
