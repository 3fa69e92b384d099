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
NAME = 64  # bytes of a mark, and of a request's name: the hexadecimal digits of `checkpoint.fingerprint`


def append_reply(path: Path, mark: str, request: str, reply: np.ndarray) -> None:
    """Write the reply to one request; returns when the operating system has it."""
    array = BytesIO()
    np.lib.format.write_array(array, np.ascontiguousarray(reply), allow_pickle=False)
    record = request.encode() + array.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        begin = b"" if file.tell() else mark.encode()
        file.write(begin + LENGTH.pack(len(record), zlib.crc32(record)) + record)


def read_journal(path: Path, mark: str) -> dict[str, np.ndarray]:
    """The replies by request, none where there is no file; a torn last record is cut off.

    Raises ValueError when the file belongs to another run or is damaged before its end.
    """
    data = path.read_bytes() if path.exists() else b""
    if not mark.encode().startswith(data[:NAME]):
        raise ValueError(f"journal {path} belongs to another run; delete it to start over")
    replies, position = {}, min(NAME, len(data) // NAME * NAME)
    while (end := _end_of_record(data, position)) is not None:
        record = data[position + LENGTH.size : end]
        if zlib.crc32(record) != LENGTH.unpack_from(data, position)[1]:
            if end == len(data):
                break
            raise ValueError(f"journal {path} is damaged at byte {position}; delete it to start over")
        reply = np.lib.format.read_array(BytesIO(record[NAME:]), allow_pickle=False)
        replies[record[:NAME].decode()] = reply
        position = end
    if position < len(data):
        os.truncate(path, position)
    return replies


def _end_of_record(data: bytes, position: int) -> int | None:
    """Where the record at `position` ends; None where it is not all there."""
    if position < NAME or position + LENGTH.size > len(data):
        return None
    end = position + LENGTH.size + LENGTH.unpack_from(data, position)[0]
    return end if end <= len(data) else None
