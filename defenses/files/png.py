"""Whether a PNG file is what was written: Pillow passes over the checksums of its pixels and believes its lengths.

Source: W3C, Portable Network Graphics, section 5: eight bytes of signature, then chunks of a length, a type, so many
bytes and their CRC-32, the last of type IEND. The first letter of a type is a capital where a reader needs the chunk.
"""

import struct
import zlib

SIGNATURE = 8


def require_whole(content: bytes) -> None:
    """Raise ValueError unless the chunks of a PNG file end within it, and those that matter have their checksums."""
    data, start, kind = memoryview(content), SIGNATURE, b""
    while kind != b"IEND":
        if len(data) < start + 12:
            raise ValueError("is no whole PNG file: it ends before its last chunk")
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + 8 + length
        if len(data) < end + 4:
            raise ValueError(f"is no whole PNG file: chunk {kind!r} says that it has {length} bytes")
        if kind[:1].isupper() and struct.unpack_from(">I", data, end)[0] != zlib.crc32(data[start + 4 : end]):
            raise ValueError(f"is a damaged PNG file: chunk {kind!r} has not its checksum")
        start = end + 4
