"""What the fuzzing tests share: values nobody expects, damage to what was whole, and the bounds every parser keeps.

    a whole document --spoiled--> a value replaced, removed, added        bytes --damaged--> flipped, cut, doubled

Every test here draws as many examples as the profile says: 100 of them, always the same, in the suite; with
`make fuzz N=100000` so many new ones. `dear(share)` is for what costs milliseconds.
"""

import copy
import itertools
import json
import resource
import signal
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

SECONDS = 2.0
"""Processor time that one case may take, at most."""
HANGS = 30
"""Seconds on the clock after which a case is taken for a hang."""
MEMORY = 64 << 20
"""Bytes that one case may have at a time, at most."""
TRACED = 4
"""Of so many cases one is traced allocation by allocation; of the others only the growth of the process is seen."""
_cases = itertools.count()
CONTROLS = "\x1b]52;c;aGk=\x07\x9b2J\u202e\u2066\u200b\U000e0041[/x][@click=app.bell]\x00\x7f\ud800\r\n"
WORDS = ["", CONTROLS, "../../etc/passwd", "/", ".", "\ud800", "²", "٣", "9" * 5000, "-0", "nan", "1e999", "None", "{}"]
NUMBERS = [0, -1, 2**31, 2**63, 2**64, -(2**63) - 1, 10**400, 1e308, -1e308, 5e-324, float("nan"), float("inf"), 0.1]

hostile = settings(suppress_health_check=list(HealthCheck))
"""For tests that use a fixture of their function, or draw large things."""


def dear(share: float) -> settings:
    """The settings of a test that makes only this share of the profile's examples."""
    assert settings.default is not None
    return settings(hostile, max_examples=max(10, round(settings.default.max_examples * share)))


texts = st.sampled_from(WORDS) | st.text(st.characters(exclude_categories=()), max_size=40)
scalars = st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.integers() | st.floats() | texts
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
"""Anything JSON can hold, and some of what only Python's can."""


def places(document: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a document."""
    pairs = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in pairs:
        yield (*before, key)
        yield from places(value, (*before, key))


@st.composite
def spoiled(draw: st.DrawFn, whole: Any) -> Any:
    """A whole document of which up to three values were replaced, removed or added."""
    document = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        found = list(places(document))
        if not found or draw(st.integers(0, 19)) == 0:
            return draw(values)
        *path, last = draw(st.sampled_from(found))
        owner = document
        for key in path:
            owner = owner[key]
        act = draw(st.sampled_from(["replace", "replace", "replace", "remove", "add"]))
        if act == "replace":
            owner[last] = draw(values)
        elif act == "remove":
            del owner[last]
        elif isinstance(owner, dict):
            owner[draw(texts)] = draw(values)
        else:
            owner.append(draw(values))
    return document


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Bytes of which some were flipped, cut out, doubled or put in; now and then quite other ones."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        size = draw(st.sampled_from([1, 1, 2, 4, 8, 64, len(data)]))
        act = draw(st.sampled_from(["flip", "set", "set", "cut", "end", "double", "insert"]))
        if act == "flip" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif act == "set":
            data[at : at + size] = draw(st.binary(min_size=1, max_size=8))
        elif act == "cut":
            del data[at : at + size]
        elif act == "end":
            del data[at:]
        elif act == "double":
            data[at:at] = data[at : at + size]
        else:
            data[at:at] = draw(st.binary(max_size=64))
    return bytes(data) if draw(st.integers(0, 9)) else draw(st.binary(max_size=200))


def spelled(document: Any) -> bytes:
    """A document as JSON, lone surrogates and what is not finite included."""
    return json.dumps(document).encode()


def _hung(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"one case took more than {HANGS} seconds")


@contextmanager
def bounded(memory: int = MEMORY, seconds: float = SECONDS) -> Iterator[None]:
    """Whatever happens inside ends soon, and takes little memory while it lasts."""
    before = signal.signal(signal.SIGALRM, _hung)
    signal.setitimer(signal.ITIMER_REAL, HANGS)
    most, began = peak(), time.thread_time()
    if traced := next(_cases) % TRACED == 0:
        tracemalloc.start()
    try:
        yield
    finally:
        taken, grown = tracemalloc.get_traced_memory()[1] if traced else 0, peak() - most
        if traced:
            tracemalloc.stop()
        took = time.thread_time() - began
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert max(taken, grown) <= memory, f"{max(taken, grown):,} bytes"
    assert took <= seconds, f"{took:.1f} s"


def peak() -> int:
    """The most memory this process ever had, in bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def kept_or_refused(act: Callable[[], Any], *refusals: type[BaseException]) -> Any:
    """What `act` gives, within bounds; None where it was refused, in one sentence."""
    try:
        with bounded():
            return act()
    except refusals as error:
        said = str(error)
        assert said.strip()  # a name in it may hold a line's end; whatever shows it keeps it on one line
        assert "Traceback" not in said
        return None
