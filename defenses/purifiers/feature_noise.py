"""Random noise added to the features of one layer of the network, rather than to its input."""

from collections.abc import Callable
from dataclasses import dataclass

from defenses.classifiers.inside import UNKNOWN
from defenses.model import Model
from defenses.options.ranges import check_at_least
from defenses.purifiers.method import Method
from defenses.purifiers.transforms.gaussian_noise import noise_like


@dataclass(frozen=True)
class FeatureNoise:
    """Settings of the noise."""

    std: float = 0.1
    """Standard deviation in the units of the features, finite and >= 0."""
    layer: str = ""
    """Name of the layer behind which it is added; "" for the last one before the classes' scores."""

    def __post_init__(self) -> None:
        """Raise ValueError when out of range."""
        check_at_least(self, std=0)


def feature_noise(settings: FeatureNoise) -> Callable[[Model], Model]:
    """The network with h ↦ h + σz behind that layer, z ~ N(0, I) fresh in every row.

    Raises ValueError for a layer that the network does not have, and in front of anything but a network of the zoo.
    """

    def guarded(model: Model) -> Model:
        inside = model.inside
        if not inside.names:
            raise ValueError("feature-noise must stand last, directly in front of a network whose layers are known")
        layer = settings.layer or inside.names[-2]
        inside.changed(layer, lambda features: features)  # an unknown name is refused before anything runs

        def scores(params, keys, images):
            def noisy(features):
                return features + settings.std * noise_like(keys, features)

            return inside.changed(layer, noisy)(params, images)

        return model._replace(name=f"feature-noise behind {layer}", scores=scores, randomized=True, inside=UNKNOWN)

    return guarded


METHOD = Method(
    FeatureNoise,
    lambda settings, _: feature_noise(settings),
    "Nguyen et al. 2024, arXiv 2310.00567, Randomized Feature Defense; strength and layer chosen here",
    randomized=True,
)
