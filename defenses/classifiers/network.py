"""Networks as pure functions: an architecture's params are drawn, described, and called to classify or to learn.

Params are one nested dictionary of float32 arrays that holds weights and running batch statistics alike.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, PyTree

from defenses.classifiers.architecture import Architecture
from defenses.classifiers.classifier import Classifier
from defenses.classifiers.inside import scored, traced
from defenses.data.normalization import Normalization

Shape = tuple[int, int, int]


class Traced(NamedTuple):
    """A network without arrays: its graph when it learns and when it classifies, its variables' shapes, its layers."""

    learning: nnx.GraphDef
    classifying: nnx.GraphDef
    variables: nnx.State
    layers: tuple[str, ...]


def initial(architecture: Architecture, image_shape: Shape, num_classes: int, seed: int) -> PyTree:
    """Untrained params drawn from `seed`; raises ValueError for an image shape that the architecture can't take.

    Not jitted: a layer's draw is compiled once per shape, and the next network has it.
    """
    return nnx.to_pure_dict(nnx.split(architecture.build(image_shape, num_classes, nnx.Rngs(seed)))[1])


def template(architecture: Architecture, image_shape: Shape, num_classes: int) -> PyTree:
    """The params' names, shapes and dtypes as `jax.ShapeDtypeStruct`; raises as `initial` does."""
    return nnx.to_pure_dict(_traced(architecture.build, image_shape, num_classes).variables)


def trainable(architecture: Architecture, image_shape: Shape, num_classes: int) -> PyTree:
    """True for the params that descent may change, False for batch statistics: a mask of the params' structure."""
    variables = _traced(architecture.build, image_shape, num_classes).variables
    mask = nnx.map_state(lambda path, variable: variable.replace(isinstance(variable, nnx.Param)), variables)
    return nnx.to_pure_dict(mask)


def network_classifier(
    name: str,
    architecture: Architecture,
    params: PyTree,
    image_shape: Shape,
    num_classes: int,
    normalization: Normalization,
) -> Classifier:
    """The network with these params, behind its normalisation, batch norms using their running statistics."""
    network = _traced(architecture.build, image_shape, num_classes)
    logits, inside = scored(network.layers, network.classifying, normalization)
    return Classifier(name, params, logits, image_shape, num_classes, architecture.smooth, inside=inside)


def training_logits(
    architecture: Architecture, image_shape: Shape, num_classes: int, normalization: Normalization
) -> Callable[[PyTree, Float[Array, "n h w c"]], tuple[Float[Array, "n classes"], PyTree]]:
    """The function (params, images) -> (scores, params with new running statistics) of training mode.

    Batch norms use the batch's own statistics and move the running ones by a tenth. Their running variance is
    the biased one, where PyTorch stores n/(n − 1) of it.
    """
    graph = _traced(architecture.build, image_shape, num_classes).learning

    def logits(params, images):
        module = nnx.merge(graph, params)
        scores = module(normalization(images))
        return scores, nnx.to_pure_dict(nnx.split(module)[1])

    return logits


class Network(NamedTuple):
    """An architecture for images of one shape, behind its normalisation; the functions above with these arguments."""

    name: str
    architecture: Architecture
    image_shape: Shape
    num_classes: int
    normalization: Normalization

    def initial(self, seed: int) -> PyTree:
        """Untrained params drawn from `seed`."""
        return initial(*self._shape, seed)

    def template(self) -> PyTree:
        """The params' names, shapes and dtypes."""
        return template(*self._shape)

    def trainable(self) -> PyTree:
        """True for the params that descent may change."""
        return trainable(*self._shape)

    def classifier(self, params: PyTree) -> Classifier:
        """The classifier with these params, batch norms in evaluation mode."""
        return network_classifier(
            self.name, self.architecture, params, self.image_shape, self.num_classes, self.normalization
        )

    def training_logits(self) -> Callable[[PyTree, Float[Array, "n h w c"]], tuple[Float[Array, "n classes"], PyTree]]:
        """The function (params, images) -> (scores, params with new running statistics) of training mode."""
        return training_logits(*self._shape, self.normalization)

    def computing_in(self, dtype: str) -> "Network":
        """The same network with its layers' arithmetic in `dtype`; params and batch statistics stay float32."""

        def build(*arguments):
            module = self.architecture.build(*arguments)
            module.set_attributes(dtype=jnp.dtype(dtype), raise_if_not_found=False)
            return module

        return self._replace(architecture=self.architecture._replace(build=build))

    @property
    def _shape(self) -> tuple[Architecture, Shape, int]:
        return self.architecture, self.image_shape, self.num_classes


@lru_cache(maxsize=32)
def _traced(build: Callable[..., nnx.Module], image_shape: Shape, num_classes: int) -> Traced:
    """Traced once for all that is asked of a network: a deep one takes a second."""
    module, layers = traced(lambda: build(image_shape, num_classes, nnx.Rngs(0)))
    module.train()
    learning, variables = nnx.split(module)
    module.eval()
    return Traced(learning, nnx.split(module)[0], variables, layers)
