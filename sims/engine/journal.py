"""The journal of a run: every reply of a victim on the host, on disk before it is used.

A file that is only appended to, beside the checkpoint. It holds what was answered since the state was saved last, by
the names of the requests, and is bound to its run by the mark it begins with. It outlives the process (a kill at any
moment), not the machine: nothing forces the disk to write.
"""

import os
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np

LENGTH = struct.Struct("<QI")  # bytes of the record that follows, and their CRC-32
CHECK = struct.Struct("<I")  # CRC-32 of these two
HEAD = LENGTH.size + CHECK.size
NAME = 64  # bytes of a mark, and of a request's name: the hexadecimal digits of `checkpoint.fingerprint`


def append_reply(path: Path, mark: str, request: str, reply: np.ndarray) -> None:
    """Write the reply to one request; returns when the operating system has it."""
    array = BytesIO()
    np.lib.format.write_array(array, np.ascontiguousarray(reply), allow_pickle=False)
    record = request.encode() + array.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        begin = b"" if file.tell() else mark.encode()
        head = LENGTH.pack(len(record), zlib.crc32(record))
        file.write(begin + head + CHECK.pack(zlib.crc32(head)) + record)


def read_journal(path: Path, mark: str) -> dict[str, np.ndarray]:
    """The replies by request, none where there is no file; a torn last record is cut off.

    Raises ValueError when the file belongs to another run or is damaged before its end; the file is left as it is.
    """
    data = path.read_bytes() if path.exists() else b""
    if not mark.encode().startswith(data[:NAME]):
        raise ValueError(f"journal {path} belongs to another run; delete it to start over")
    replies, position = {}, min(NAME, len(data) // NAME * NAME)
    while (record := _record(path, data, position)) is not None:
        reply = np.lib.format.read_array(BytesIO(record[NAME:]), allow_pickle=False)
        replies[record[:NAME].decode()] = reply
        position += HEAD + len(record)
    if position < len(data):
        os.truncate(path, position)
    return replies


def _record(path: Path, data: bytes, position: int) -> bytes | None:
    """The record at `position`; None at the end, or where the last one is torn: not all there, or not all written.

    A head is believed by its own sum alone, so that a damaged length hides no record behind it.
    """
    begin = position + HEAD
    if position < NAME or begin > len(data):
        return None
    head = data[position : position + LENGTH.size]
    length, expected = LENGTH.unpack(head)
    believed = zlib.crc32(head) == CHECK.unpack_from(data, position + LENGTH.size)[0]
    record = data[begin : begin + length] if believed else b""
    if believed and zlib.crc32(record) == expected and len(record) == length:
        return record
    if believed and begin + length >= len(data):
        return None
    raise ValueError(f"journal {path} is damaged at byte {position}; delete it to start over")
