"""What theory predicts for E‖ḡ‖² of an averaged gradient estimate on a quadratic loss."""

from theory.catalogue import find


def predicted_second_moment(
    label: str, d: int, gradient: float, variance: float, radius: float, q: int, trace: float = 0.0, square: float = 0.0
) -> float:
    """E‖ḡ‖² of q directions: the statement `label` (E3) for one of them, E2-shared for their average.

    gradient: ‖∇F̄‖. variance: V of a query. radius: μ. trace, square: tr H and tr H², 0 of a linear loss.
    """
    values = {"d": d, "grad": gradient, "V": variance, "mu": radius, "tr": trace, "tr2": square}
    single = find(label)
    moment = single(**{name: values[name] for name in single.parameters})
    return find("E2-shared")(grad_mu=gradient, M=moment, q=q)
