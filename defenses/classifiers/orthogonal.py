"""A network of orthogonal layers, whose Lipschitz constants are known and not estimated.

z(x) = s·(W₃ φ(W₂ φ(W₁ x + b₁) + b₂) + b₃) with W₁, W₂ square orthogonal, W₃ of orthonormal rows, known scale
s, and the smooth absolute value φ(t) = √(t² + a²) − a: φ′ = t/√(t² + a²) lies in (−1, 1), φ″ = a²/(t² +
a²)^{3/2} in (0, 1/a].
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

from defenses.classifiers.classifier import Classifier
from defenses.data.dataset import Dataset, training_images
from defenses.training.small import small_training
from defenses.training.training import Training

LAYERS = ("first", "second", "head")


@dataclass(frozen=True)
class Recipe:
    """How the network is trained; `scale` is s and `softness` is a above."""

    scale: float = 8.0
    softness: float = 0.25
    steps: int = 600
    batch_size: int = 64
    learning_rate: float = 3e-3


class LipschitzConstants(NamedTuple):
    """ℓ₂ Lipschitz constants on ℝᵈ: `_l0` of a function, `_l1` of its gradient (of z: of its Jacobian)."""

    logits_l0: float
    logits_l1: float
    margin_l0: float
    margin_l1: float
    cross_entropy_l0: float
    cross_entropy_l1: float


def logits(params: PyTree, images: Float[Array, "n h w c"]) -> Float[Array, "n classes"]:
    """Scores z(x) of the formula above, in the dtype of params and images."""
    features = images.reshape(len(images), -1)
    for layer in ("first", "second"):
        features = _smooth_abs(_affine(params[layer], features), params["softness"])
    return params["scale"] * _affine(params["head"], features)


def lipschitz_constants(params: PyTree) -> LipschitzConstants:
    """Constants of the logits z, the margin z_y − max_{j≠y} z_j and the cross-entropy, for every label y.

    Write w = Π‖Wᵢ‖₂, computed in float64 from the stored weights (1 up to rounding), and S4 for the
    composition rule L₁(f∘g) ≤ L₁(f)L₀(g)² + L₀(f)L₁(g).

    Logits. L₀ = s·w: each factor of the Jacobian s·W₃D₂W₂D₁W₁ has norm at most that of its weight, as |φ′| <
    1; far from the origin D₁, D₂ tend to matrices of signs, so the supremum is reached in the limit.
    Elementwise φ has ‖D(t) − D(t′)‖₂ = maxᵢ|φ′(tᵢ) − φ′(t′ᵢ)| ≤ ‖t − t′‖/a, so S4 applied twice gives
    L₁ ≤ s·(‖W₃‖‖W₂‖‖W₁‖² + ‖W₃‖‖W₂‖²‖W₁‖²)/a, which is 2s/a up to rounding.

    Margin. z_y − z_j has gradient e_y − e_j in the logits, of norm √2, for each j, and a minimum of
    functions with a common Lipschitz constant keeps it: L₀ ≤ √2·L₀(z). Where the runner-up changes the
    gradient jumps: no L₁ exists, and `margin_l1` is infinite.

    Cross-entropy LSE(z) − z_y. Its gradient in the logits is p − e_y with squared norm (1 − p_y)² + Σ_{j≠y}
    p_j² ≤ 2: L₀ ≤ √2·L₀(z). Its Hessian is diag(p) − ppᵀ: vᵀHv = Var_p(v) ≤ (max v − min v)²/4 ≤ ‖v‖²/2 by
    Popoviciu and (a − b)² ≤ 2(a² + b²). S4: L₁ ≤ ½L₀(z)² + √2·L₁(z).

    S4, the constants of a composition: L₀(f∘m) ≤ L₀(f)L₀(m), L₁(f∘m) ≤ L₁(f)L₀(m)² + L₀(f)L₁(m).
    """
    first, second, head = (np.linalg.norm(np.asarray(params[k]["weight"], np.float64), 2) for k in LAYERS)
    scale, softness = abs(float(params["scale"])), float(params["softness"])
    l0 = float(scale * head * second * first)
    l1 = float(scale * head * second * first**2 * (1 + second) / softness)
    return LipschitzConstants(
        logits_l0=l0,
        logits_l1=l1,
        margin_l0=math.sqrt(2) * l0,
        margin_l1=math.inf,
        cross_entropy_l0=math.sqrt(2) * l0,
        cross_entropy_l1=l0**2 / 2 + math.sqrt(2) * l1,
    )


def initial(recipe: Recipe, dataset: Dataset, seed: int) -> PyTree:
    """Params with random orthogonal weights, zero biases, and the recipe's scale and softness; float32."""
    size = math.prod(dataset.image_shape)
    keys = jax.random.split(jax.random.key(seed), len(LAYERS))
    widths = (size, size, len(dataset.classes))
    layers = {
        layer: {
            "weight": jax.random.orthogonal(key, size, dtype=jnp.float32)[:width],
            "bias": jnp.zeros(width, jnp.float32),
        }
        for layer, key, width in zip(LAYERS, keys, widths, strict=True)
    }
    return {**layers, "scale": jnp.float32(recipe.scale), "softness": jnp.float32(recipe.softness)}


def classifier(recipe: Recipe, dataset: Dataset, params: PyTree) -> Classifier:
    """The network with these params, which hold the recipe's scale and softness, as a `Classifier`."""
    return Classifier("orthogonal", params, logits, dataset.image_shape, len(dataset.classes), smooth=True)


def training(recipe: Recipe, dataset: Dataset, seed: int) -> Training:
    """By cross-entropy on `dataset`, from `seed`, weights orthogonal to float32 rounding."""
    start = jax.eval_shape(lambda: initial(recipe, dataset, seed))

    def loss(params, _, images, labels):
        return optax.softmax_cross_entropy_with_integer_labels(logits(params, images), labels).mean()

    training = small_training(
        "orthogonal",
        training_images(dataset),
        lambda: initial(recipe, dataset, seed),
        loss,
        seed=seed,
        steps=recipe.steps,
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
    )
    return training._replace(
        trainable={name: jax.tree.map(lambda _, moves=name in LAYERS: moves, part) for name, part in start.items()},
        project=lambda params: _with_weights(params, _newton_schulz),
        finish=lambda params: _with_weights(params, _polar),
    )


def _affine(layer, features):
    return features @ layer["weight"].T + layer["bias"]


def _smooth_abs(values, softness):
    return jnp.sqrt(values**2 + softness**2) - softness


def _with_weights(params, change):
    changed = {name: {**params[name], "weight": change(params[name]["weight"])} for name in LAYERS}
    return {**params, **changed}


def _newton_schulz(weight):
    """Pull a nearly orthogonal matrix back to its polar factor: the error is squared three times."""
    for _ in range(3):
        weight = 1.5 * weight - 0.5 * weight @ (weight.T @ weight)
    return weight


def _polar(weight):
    """The orthogonal polar factor, computed in float64 and rounded once."""
    left, _, right = np.linalg.svd(np.asarray(weight, np.float64), full_matrices=False)
    return jnp.asarray(left @ right, jnp.float32)
