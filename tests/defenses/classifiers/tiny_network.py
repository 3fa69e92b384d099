"""An architecture that compiles in a moment."""

import jax
from flax import nnx

from defenses.classifiers.architecture import Architecture
from defenses.classifiers.network import Network
from defenses.data.normalization import NORMALIZATIONS

UNIFORM = jax.nn.initializers.he_uniform()  # compiles sooner than a truncated normal


class Tiny(nnx.Module):
    """Convolution, batch norm, convolution, dense layer."""

    def __init__(self, image_shape, num_classes, rngs):
        height, width, channels = image_shape
        self.conv = nnx.Conv(channels, 8, (3, 3), strides=2, kernel_init=UNIFORM, rngs=rngs)
        self.second = nnx.Conv(8, 8, (3, 3), kernel_init=UNIFORM, rngs=rngs)
        self.norm = nnx.BatchNorm(8, momentum=0.9, rngs=rngs)
        self.head = nnx.Linear(2 * height * width, num_classes, kernel_init=UNIFORM, rngs=rngs)

    def __call__(self, images):
        features = nnx.relu(self.norm(self.conv(images)))
        return self.head(nnx.relu(self.second(features)).reshape(len(images), -1))


TINY = Architecture(Tiny, {}, smooth=False)
SHAPE = (8, 8, 1)
NETWORK = Network("tiny", TINY, SHAPE, 10, NORMALIZATIONS["digits"])
