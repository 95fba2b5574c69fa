"""What stands behind the # of a source: which bytes of it, its weight, its sha256, whether it is followed.

    "book.txt#bytes=0-10m&weight=3" -> "book.txt", Asked(last=10_000_000, weight=3.0)       with # instead of & too

Promises: a file whose very name ends like that is that file; what is not understood is refused with what there is.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from stream.errors import SourceError, legible

SCALE = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_FRAGMENT = re.compile(r"((?:#(?:(?:bytes|sha256|weight)=[^#]*|follow(?:&[^#]*)?))+)$", re.IGNORECASE)
_SLICE = re.compile(r"(?:([0-9]{1,15})([kmg]?))?-(?:([0-9]{1,15})([kmg]?))?", re.IGNORECASE)


class Asked(NamedTuple):
    """What stands behind the # of a source."""

    first: int = 0
    last: int | None = None
    sha256: str | None = None
    weight: float | None = None
    follow: bool = False

    @property
    def shown(self) -> str:
        """The part of it that says which bytes are meant, as it stands in a cursor."""
        words = [f"bytes={self.first}-{'' if self.last is None else self.last}"] if self.first or self.last else []
        words += ["follow"] if self.follow else []
        return "#" + "&".join(words) if words else ""


def split(text: str) -> tuple[str, Asked]:
    """A SOURCE argument without its fragment, and what that asks for. Raises SourceError for one that is malformed."""
    found = _FRAGMENT.search(text)
    # A file whose very name ends like a slice is that file.
    if found is None or ("://" not in text and os.path.lexists(text)):
        return text, Asked()
    asked = Asked()
    for word in re.split("[#&]", found[1][1:]):
        key, mark, value = word.partition("=")
        if key.lower() == "bytes":
            first, last = _slice(value)
            asked = asked._replace(first=first, last=last)
        elif key.lower() == "sha256" and re.fullmatch(r"[0-9a-fA-F]{64}", value):
            asked = asked._replace(sha256=value.lower())
        elif key.lower() == "weight":
            asked = asked._replace(weight=_weight(value))
        elif key.lower() == "follow" and not mark:
            asked = asked._replace(follow=True)
        else:
            raise SourceError(_not_understood(word, key.lower()))
    if asked.follow and (asked.last is not None or asked.sha256 or asked.weight):
        raise SourceError(f"{legible(found[1])}: what is followed has no end, no sha256 and a lane of its own")
    return text[: found.start()], asked


def _not_understood(word: str, key: str) -> str:
    if key == "sha256":
        return f"#{legible(word)} is not a sha256 of 64 hexadecimal digits"
    return f"#{legible(word)} is not understood; there are #bytes=START-END, #weight=W, #sha256=HEX and #follow"


def _weight(text: str) -> float:
    try:
        weight = float(text) if re.fullmatch(r"[0-9.]{1,12}", text) else 0.0
    except ValueError:
        weight = 0.0
    if not 1e-6 <= weight <= 1e6:
        raise SourceError(f"#weight={legible(text)} is no weight; write one from 0.000001 to 1000000, as in #weight=3")
    return weight


def _slice(text: str) -> tuple[int, int | None]:
    found = _SLICE.fullmatch(text)
    if found is None or text == "-":
        raise SourceError(f"#bytes={legible(text)} is not a slice; write #bytes=START-END, as in #bytes=0-10m")
    first = int(found[1]) * SCALE[found[2].lower()] if found[1] else 0
    last = int(found[3]) * SCALE[found[4].lower()] if found[3] else None
    if last is not None and last <= first:
        raise SourceError(f"#bytes={text} is an empty slice; END comes after START")
    return first, last
