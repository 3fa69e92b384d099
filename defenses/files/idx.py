"""The idx format of MNIST: a big-endian header with type and dimensions, then the bytes."""

import math
import struct

import numpy as np
from jaxtyping import UInt8

UNSIGNED_BYTE = 0x08


def parse(content: bytes, name: str) -> UInt8[np.ndarray, "..."]:
    """The read-only uint8 array that the bytes of an idx file hold.

    name: what a ValueError calls the file, when it is of another format or type, truncated or too long.
    Source: Y. LeCun, C. Cortes and C. Burges, The MNIST database of handwritten digits, "File formats".
    """
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != UNSIGNED_BYTE:
        raise ValueError(
            f"{name} must be an idx file of unsigned bytes (00 00 08 ...), it starts {content[:4].hex(' ')}"
        )
    dimensions = content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise ValueError(f"{name} must hold {dimensions} dimensions in its first {start} bytes, it has {len(content)}")
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    if len(content) != start + math.prod(shape):
        raise ValueError(f"{name} must have {start + math.prod(shape)} bytes for shape {shape}, it has {len(content)}")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
