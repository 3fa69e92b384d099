"""Vision transformers: attention among the 16×16 patches of an image and one class token.

Source: Dosovitskiy et al., An Image Is Worth 16×16 Words (2021), base size; Touvron et al., Training Data-Efficient
Image Transformers (2021), tiny and small sizes; names as in timm.
"""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from defenses.classifiers.layers import linear
from defenses.training.recipe import Recipe

RECIPE = Recipe(200, 128, 5e-4, 0.05, "cosine", optimizer="adamw")
"""AdamW and its decay after Touvron et al. (2021), table 9, without their mixing of images, erasing and drop path."""

PATCH = 16
DEPTH = 12
HEAD_WIDTH = 64
EXPANSION = 4  # of the hidden layer between two blocks' attentions

TRUNCATED_NORMAL = jax.nn.initializers.truncated_normal(0.02)

_dense = partial(linear, kernel_init=TRUNCATED_NORMAL)
_layer_norm = partial(nnx.LayerNorm, epsilon=1e-6, use_fast_variance=False)


class Attention(nnx.Module):
    """Softmax attention of every token to all tokens, in heads of 64 channels."""

    def __init__(self, width: int, rngs: nnx.Rngs):
        self.qkv = _dense(width, 3 * width, rngs)
        self.proj = _dense(width, width, rngs)

    def __call__(self, tokens: Float[Array, "n t d"]) -> Float[Array, "n t d"]:
        """What each token gathers."""
        batch, length, width = tokens.shape
        heads = self.qkv(tokens).reshape(batch, length, 3, width // HEAD_WIDTH, HEAD_WIDTH)
        query, key, value = jnp.moveaxis(heads, 2, 0)
        return self.proj(jax.nn.dot_product_attention(query, key, value).reshape(tokens.shape))


class Perceptron(nnx.Module):
    """Two dense layers with a GELU (the exact one) between them."""

    def __init__(self, width: int, rngs: nnx.Rngs):
        self.fc1 = _dense(width, EXPANSION * width, rngs)
        self.fc2 = _dense(EXPANSION * width, width, rngs)

    def __call__(self, tokens: Float[Array, "n t d"]) -> Float[Array, "n t d"]:
        """Each token by itself."""
        return self.fc2(nnx.gelu(self.fc1(tokens), approximate=False))


class Block(nnx.Module):
    """Attention and perceptron, each behind a layer norm and beside a shortcut."""

    def __init__(self, width: int, rngs: nnx.Rngs):
        self.norm1 = _layer_norm(width, rngs=rngs)
        self.attn = Attention(width, rngs)
        self.norm2 = _layer_norm(width, rngs=rngs)
        self.mlp = Perceptron(width, rngs)

    def __call__(self, tokens: Float[Array, "n t d"]) -> Float[Array, "n t d"]:
        """Tokens after the block."""
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class Network(nnx.Module):
    """Patches, class token and positions; twelve blocks; a dense layer on the class token.

    width: channels of a token, a multiple of 64. Raises ValueError for images that 16×16 patches don't tile.
    """

    def __init__(self, width: int, image_shape: tuple[int, int, int], num_classes: int, rngs: nnx.Rngs):
        height, breadth, depth = image_shape
        if height % PATCH or breadth % PATCH:
            raise ValueError(f"image_shape must have sides divisible by {PATCH} for a ViT-16, got {image_shape}")
        tokens = 1 + (height // PATCH) * (breadth // PATCH)
        self.patch_embed = nnx.Conv(depth, width, (PATCH, PATCH), strides=PATCH, padding="VALID", rngs=rngs)
        self.cls_token = nnx.Param(TRUNCATED_NORMAL(rngs.params(), (1, 1, width)))
        self.pos_embed = nnx.Param(TRUNCATED_NORMAL(rngs.params(), (1, tokens, width)))
        self.blocks = nnx.Sequential(*(Block(width, rngs) for _ in range(DEPTH)))
        self.norm = _layer_norm(width, rngs=rngs)
        self.head = _dense(width, num_classes, rngs)

    def __call__(self, images: Float[Array, "n h w c"]) -> Float[Array, "n classes"]:
        """Scores of the classes."""
        patches = self.patch_embed(images)
        patches = patches.reshape(len(images), -1, patches.shape[-1])
        first = jnp.broadcast_to(self.cls_token[...], (len(images), 1, patches.shape[-1]))
        tokens = jnp.concatenate([first, patches], axis=1) + self.pos_embed[...]
        return self.head(self.norm(self.blocks(tokens)[:, 0]))
