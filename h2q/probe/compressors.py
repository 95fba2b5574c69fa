"""What general compressors make of the same bytes, as one stream in the order of the sources. Torch-free.

    lanes (one, 64 kB at a time) -> encoder -> how many bytes come out

Promises: no source is held whole here; the sizes are those of gzip -9, bzip2 -9, xz -9e and PPMd (variant H, as in
7-Zip), headers included. PPMd comes from the optional package pyppmd; without it, one sentence says it is left out.
"""

import bz2
import lzma
import os
import time
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from stream.lanes import Lanes, SourceError

GZIP_WINDOW = 31
"""zlib's name for its largest window, wrapped as gzip."""
ORDER = 16
MOST_MEMORY = 512 << 20
LITTLE_MEMORY = 256 << 20
"""PPMd's share where it runs beside something else."""
DICTIONARY = 1 << 26
"""That of xz -9: the encoder takes about ten times as much memory."""
PIECE = 1 << 16


class Encoder(Protocol):
    """A compressor that takes its bytes piece by piece."""

    def compress(self, data: bytes, /) -> bytes:
        """Bytes in, perhaps bytes out."""

    def flush(self) -> bytes:
        """The rest."""


class Compressor(NamedTuple):
    """A program people know, its settings, and how to start it."""

    name: str
    settings: dict[str, Any]
    start: Callable[[], Encoder]


class Ppmd:
    """PPMd7, behind the names that the standard library uses."""

    def __init__(self, order: int, memory: int) -> None:
        import pyppmd

        self._encoder = pyppmd.Ppmd7Encoder(order, memory)

    def compress(self, data: bytes, /) -> bytes:
        """Bytes in, perhaps bytes out."""
        return bytes(self._encoder.encode(data))

    def flush(self) -> bytes:
        """The rest."""
        return bytes(self._encoder.flush())


def compressors(warn: Callable[[str], None], size: int | None = None) -> list[Compressor]:
    """Every compressor there is here; `warn` hears of one that is not. With `size`, the bytes to come, they take no
    more memory than those need."""
    extreme = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": dictionary(size)}
    found = [
        Compressor("gzip", {"level": 9}, lambda: zlib.compressobj(9, zlib.DEFLATED, GZIP_WINDOW)),
        Compressor("bzip2", {"level": 9}, lambda: bz2.BZ2Compressor(9)),
        Compressor("xz", {"level": "9e"}, lambda: lzma.LZMACompressor(filters=[extreme])),
    ]
    try:
        import pyppmd  # noqa: F401 - whether it is here
    except ImportError:
        warn("PPMd is left out: it needs the package pyppmd, which is not installed.")
        return found
    memory = min(ppmd_memory(size), machine_memory() // 2)
    return [*found, Compressor("PPMd", {"order": ORDER, "memory": memory}, lambda: Ppmd(ORDER, memory))]


def dictionary(size: int | None) -> int:
    """xz's dictionary: all that `size` bytes can use of that of -9, so that as many bytes come out."""
    return DICTIONARY if size is None else min(DICTIONARY, 1 << max(16, (size - 1).bit_length()))


def ppmd_memory(size: int | None) -> int:
    """PPMd's memory: text fills 20 to 30 bytes of it with each byte, and a full one begins again from nothing."""
    return MOST_MEMORY if size is None else min(LITTLE_MEMORY, max(16 << 20, 32 * size))


def machine_memory() -> int:
    """Bytes of memory this machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def compress(one: Compressor, lanes: Lanes, tick: Callable[[int], object]) -> dict[str, Any]:
    """The `reference` object of a compressor over every stored byte of `lanes`; `tick` hears of each piece."""
    reading, encoder = lanes.again(1, PIECE), one.start()
    began, read, size = time.perf_counter(), 0, 0
    while True:
        try:
            batch = reading.next(1.0)
        except StopIteration:
            break
        if batch is not None:
            piece = batch.bytes_BT[0, : batch.lengths_B[0]].tobytes()
            size += len(encoder.compress(piece))
            read += len(piece)
            tick(len(piece))
    size += len(encoder.flush())
    seconds = time.perf_counter() - began
    if read != lanes.total:
        raise SourceError("the sources changed while they were read")
    told = {"event": "reference", "name": one.name, "bytes": read, "compressed": size, "bpb": 8 * size / read}
    return told | {"seconds": round(seconds, 3)} | one.settings
