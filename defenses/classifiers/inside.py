"""The layers inside a network: their names, and the network's scores where the features of one layer are changed."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from flax import nnx
from jaxtyping import Array, Float, PyTree

Logits = Callable[[PyTree, Float[Array, "n h w c"]], Float[Array, "n classes"]]
Change = Callable[[Float[Array, "n ..."]], Float[Array, "n ..."]]


class Inside(NamedTuple):
    """names: of the layers, in the order in which images meet them.

    changed: (name of a layer, change of its (n, ...) float32 features, which keeps their shape) -> the function
    (params, images) -> scores of the network with that change behind that layer.
    """

    names: tuple[str, ...]
    changed: Callable[[str, Change], Logits]


def _unreachable(name: str, change: Change) -> Logits:
    raise ValueError(f"layer must be one of a network whose layers are known, got {name!r}")


UNKNOWN = Inside((), _unreachable)


class _Changed(nnx.Module):
    """A layer and what follows it now."""

    def __init__(self, layer: Callable, change: Change):
        self.layer, self.change = layer, change

    def __call__(self, features):
        return self.change(self.layer(features))


def traced(build: Callable[[], nnx.Module]) -> tuple[nnx.Module, tuple[str, ...]]:
    """The module without arrays, and the names of its layers in their order, which tracing forgets.

    Layers are its attributes that are layers, and the blocks `name.i` of those that are sequences.
    """
    names: list[str] = []

    def built():
        module = build()
        names[:] = _names(module)
        return module

    module = nnx.eval_shape(built)
    return module, tuple(names)


def _names(module: nnx.Module) -> Iterator[str]:
    for name, layer in vars(module).items():
        if isinstance(layer, nnx.Sequential):
            for i, block in enumerate(layer.layers):
                if isinstance(block, nnx.Module):
                    yield f"{name}.{i}"
        elif isinstance(layer, nnx.Module):
            yield name


def scored(
    names: tuple[str, ...],
    graph: nnx.GraphDef,
    before: Callable[[Float[Array, "n h w c"]], Float[Array, "n h w c"]] = lambda images: images,
) -> tuple[Logits, Inside]:
    """The scores of the network of that graph, whose layers have these names, and which sees `before(images)`."""

    def logits(params, images):
        return nnx.merge(graph, params)(before(images))

    def changed(name: str, change: Change) -> Logits:
        if name not in names:
            raise ValueError(f"layer must be one of {', '.join(names)}, got {name!r}")

        def changed_logits(params, images):
            module = nnx.merge(graph, params)
            _put_behind(module, name, change)
            return module(before(images))

        return changed_logits

    return logits, Inside(names, changed)


def _put_behind(module: Any, name: str, change: Change) -> None:
    first, *number = name.split(".")
    layer = getattr(module, first)
    if number:
        layer.layers[int(number[0])] = _Changed(layer.layers[int(number[0])], change)
    else:
        setattr(module, first, _Changed(layer, change))
