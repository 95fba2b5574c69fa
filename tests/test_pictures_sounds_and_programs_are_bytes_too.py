"""Every kind of file is bytes: a picture, a sound and a program are read, scored and shown without a special case."""

from __future__ import annotations

import importlib.util
import math
import struct
import wave
import zlib
from pathlib import Path

import pytest

from tests.conftest import Command, Facts

SIZE = 64


def _png() -> bytes:
    """A gradient, with what a PNG consists of: signature, header, deflated rows, end."""
    rows = b"".join(bytes([0, *(value for x in range(SIZE) for value in (4 * x, 4 * y, x ^ y))]) for y in range(SIZE))
    chunks = (b"IHDR" + struct.pack(">2I5B", SIZE, SIZE, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(rows, 0), b"IEND")
    parts = (struct.pack(">I", len(one) - 4) + one + struct.pack(">I", zlib.crc32(one)) for one in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _wav(path: Path) -> None:
    with wave.open(str(path), "wb") as out:
        out.setparams((1, 2, 8000, 0, "NONE", ""))
        out.writeframes(b"".join(struct.pack("<h", int(9000 * math.sin(t / 9))) for t in range(4000)))


def _program() -> bytes:
    found = importlib.util.find_spec("numpy._core._multiarray_umath")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).read_bytes()


def test_they_are_scored_to_the_last_byte(train: Command, here: Path, facts: Facts) -> None:
    box = here / "box"
    box.mkdir()
    (box / "picture.png").write_bytes(_png())
    _wav(box / "sound.wav")
    (box / "program").write_bytes(_program()[:20_000])
    (box / "every byte").write_bytes(bytes(range(256)))
    total = sum(path.stat().st_size for path in box.iterdir())
    assert total == len(_png()) + 8044 + 20_256

    assert train(box, "--ui", "json", "--chunk", "512") == 0
    end = facts()[-1]
    assert (end["event"], end["bytes"]) == ("end", total)
    assert 0 < end["bpb_mean"] < 9


def test_no_line_shows_their_control_characters(
    train: Command, h2q: Command, here: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (here / "picture.png").write_bytes(_png())
    assert train(here / "picture.png", "--ui", "plain", "--run", "calm-river", "--chunk", "256") == 0
    assert h2q("watch", "calm-river", "--ui", "plain") == 0
    said = capfd.readouterr()
    assert said.out.count("bpb") > 2
    assert all(char.isprintable() or char == "\n" for char in said.out + said.err)
