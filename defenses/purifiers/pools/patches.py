"""Images cut into square patches, and put together again."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def grid(images: Float[Array, "n h w c"], patch_size: int) -> tuple[int, int]:
    """Rows and columns of patches in an image; ValueError where the side of a patch does not divide both sides."""
    height, width = images.shape[1:3]
    if height % patch_size or width % patch_size:
        raise ValueError(f"patch_size must divide the image sides {height}×{width}, got {patch_size}")
    return height // patch_size, width // patch_size


def cut(images: Float[Array, "n h w c"], patch_size: int, context: int = 0) -> Float[Array, "m s s c"]:
    """(n · patches, s, s, c) the patches of every image, row by row; s = patch_size + 2 · context.

    context: pixels that a patch sees beyond each of its edges, zeros beyond the image. Raises as `grid` does.
    """
    rows, columns = grid(images, patch_size)
    if context == 0:
        parts = images.reshape(len(images), rows, patch_size, columns, patch_size, -1).swapaxes(2, 3)
        return parts.reshape(-1, patch_size, patch_size, images.shape[-1])
    around, side = (context, context), patch_size + 2 * context
    padded = jnp.pad(images, ((0, 0), around, around, (0, 0)))
    down = padded[:, jnp.arange(rows)[:, None] * patch_size + jnp.arange(side)]
    both = down[:, :, :, jnp.arange(columns)[:, None] * patch_size + jnp.arange(side)]
    return both.swapaxes(2, 3).reshape(-1, side, side, images.shape[-1])


def put_together(
    patches: Float[Array, "m s s c"], shape: tuple[int, ...], patch_size: int, context: int = 0
) -> Float[Array, "n h w c"]:
    """The images of that shape (n, h, w, c) whose `cut` these patches are, without what they saw beyond their edges."""
    inner = patches[:, context : context + patch_size, context : context + patch_size]
    count, height, width, channels = shape
    parts = inner.reshape(count, height // patch_size, width // patch_size, patch_size, patch_size, channels)
    return parts.swapaxes(2, 3).reshape(shape)
