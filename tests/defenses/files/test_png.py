"""PNG files whose pixels or lengths were changed, which Pillow reads all the same."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from defenses.data.picture_folder import picture_folder
from defenses.files.png import require_whole

PIXELS = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "a").mkdir()
    Image.fromarray(PIXELS).save(tmp_path / "a" / "1.png", compress_level=0)
    return tmp_path


def altered(folder, change):
    path = folder / "a" / "1.png"
    path.write_bytes(change(path.read_bytes()))
    return path


def test_a_whole_file(folder):
    altered(folder, lambda content: content + b"something behind it")
    np.testing.assert_array_equal(picture_folder(folder).test.images[:][0] * 255, PIXELS)


def flipped(content):
    """One pixel changed, within a stream that zlib finds whole."""
    start = content.index(b"IDAT") + 4
    rows = zlib.decompressobj().decompress(content[start:])
    changed = zlib.compress(rows[:9] + bytes([rows[9] ^ 1]) + rows[10:], 0)
    return content[:start] + changed + content[start + len(changed) :]


def longer(content):
    place = content.index(b"IDAT") - 4
    return content[:place] + struct.pack(">I", 2**31 - 1) + content[place + 4 :]


CHANGES = {
    "pixels": (flipped, r"is a damaged PNG file: chunk b'IDAT' has not its checksum"),
    "length": (longer, r"is no whole PNG file: chunk b'IDAT' says that it has 2147483647 bytes"),
    "end": (lambda content: content[:-12], "is no whole PNG file: it ends before its last chunk"),
    "half": (lambda content: content[: len(content) // 2], "is no whole PNG file"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_file_is_refused(name, folder):
    change, message = CHANGES[name]
    path = altered(folder, change)
    with pytest.raises(ValueError, match=message) as refusal:
        picture_folder(folder).test.images[:]
    assert str(refusal.value).startswith(f"{path}: ")


def test_pillow_reads_changed_pixels(folder):
    """Why the check is there: without it a changed file gives other pixels and no word."""
    with Image.open(altered(folder, flipped)) as picture:
        assert np.any(np.asarray(picture) != PIXELS)


def test_a_chunk_that_readers_may_skip_may_be_damaged(folder):
    text = struct.pack(">I", 3) + b"teXt" + b"a\0b" + bytes(4)
    content = (folder / "a" / "1.png").read_bytes()
    require_whole(content[:33] + text + content[33:])
