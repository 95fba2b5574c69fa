"""Text that is always there: what this Python installation brings, and the stream read when nobody names one.

Promises: `python:` is the same bytes in the same order for the same installation, costs a few thousand `stat` calls to
open, and imports none of what it lists. The default stream tries WikiText-2 once, gives up within seconds where there
is no network, says so in one sentence and goes on with `python:`; it is never an error and never a toy.

    python: = pydoc_data/topics.py | standard library | torch | sympy | numpy | networkx      (sources, without tests)
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import queue
import sysconfig
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from stream import formats, remote
from stream.source import Source, SourceError, Span, shown

PACKAGES = ("torch", "sympy", "numpy", "networkx")
"""Beside the standard library; every installation of this program has them."""
SKIPPED = frozenset({"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"})

WIKITEXT = "https://wikitext.smerity.com/wikitext-2-raw-v1.zip"
WIKITEXT_SHA256 = "ef7edb566e3e2b2d31b29c1fdb0c89a4cc683597484c3dc2517919c615435a11"
WIKITEXT_URI = "WikiText-2"
WIKITEXT_ORDER = ("wiki.train.raw", "wiki.valid.raw", "wiki.test.raw")
PATIENCE = 25.0
"""Seconds for the whole download once the server has answered; what arrived by then is kept for the next run."""


def python_source() -> Source:
    """The documentation and sources of this Python installation. Raises SourceError when it has none (zipped)."""
    spans = []
    for root, under in _roots():
        for path in _modules(root):
            try:
                size = os.stat(path).st_size
            except OSError:
                continue
            if size and os.access(path, os.R_OK):
                spans.append(Span(path, 0, size, f"python:{under}{os.path.relpath(path, root)}"))
    topics = [span for span in spans if span.label == "python:pydoc_data/topics.py"]
    spans = topics + [span for span in spans if span not in topics]
    if not spans:
        raise SourceError("python: finds no module sources in this Python installation")
    listing = "".join(f"{span.label}\0{span.stop}\n" for span in spans)
    digest = hashlib.sha256(listing.encode("utf-8", "replace")).hexdigest()
    return Source("python:", tuple(spans), {"python": platform.python_version(), "listing": digest})


def default_source(uri: str | None, offline_after: float, warn: Callable[[str], None]) -> Source:
    """What to read when no source is named; `uri` is what the saved position was in, if there is one."""
    if uri == "python:":
        return python_source()
    try:
        return wikitext(offline_after, warn)
    except SourceError as error:
        warn(f"{error}; reading the documentation and sources of this Python installation instead")
        return python_source()


def wikitext(offline_after: float, warn: Callable[[str], None]) -> Source:
    """WikiText-2, raw edition: train, valid, test. Raises SourceError within seconds where there is no network."""
    found = remote.kept(WIKITEXT_SHA256)
    if found is None:
        if os.environ.get("H2Q_OFFLINE"):
            raise SourceError("H2Q_OFFLINE is set, so WikiText-2 is not fetched")
        found = _attempt(offline_after, warn)
    spans = formats.decoded(str(found.path), ".zip", "wikitext-2-raw-v1.zip", warn)
    named = {os.path.basename(span.label): span for span in spans}
    missing = [name for name in WIKITEXT_ORDER if name not in named]
    if missing:
        raise SourceError(f"WikiText-2 came without {missing[0]}")
    ordered = tuple(replace(named[name], label=name) for name in WIKITEXT_ORDER)
    return Source(WIKITEXT_URI, ordered, {"sha256": found.sha256})


def _attempt(offline_after: float, warn: Callable[[str], None]) -> remote.Download:
    """Fetch in a thread that can be left behind: a name server that never answers holds no timeout of ours."""
    news: queue.SimpleQueue[remote.Download | Exception | None] = queue.SimpleQueue()
    stop = threading.Event()
    wish = remote.Wish(WIKITEXT, WIKITEXT_SHA256, (max(offline_after, 0.1), 10.0), stop, lambda: news.put(None))

    def work() -> None:
        try:
            news.put(remote.fetch(wish, warn))
        except Exception as error:  # whatever it is, it is raised where it can be seen
            news.put(error)

    threading.Thread(target=work, name="default-stream", daemon=True).start()
    try:
        first = news.get(timeout=offline_after)
        last = first or _outcome(news)
    except queue.Empty:
        stop.set()
        raise SourceError(f"{shown(WIKITEXT)} does not answer in time") from None
    if isinstance(last, Exception):
        raise last
    return last


def _outcome(
    news: queue.SimpleQueue[remote.Download | Exception | None],
) -> remote.Download | Exception:
    deadline = time.monotonic() + PATIENCE
    while True:
        last = news.get(timeout=max(0.0, deadline - time.monotonic()))
        if last is not None:  # None again: a retry was answered
            return last


def _roots() -> Iterator[tuple[str, str]]:
    yield sysconfig.get_paths()["stdlib"], ""
    for name in PACKAGES:
        # For a name without a dot this reads the path and imports nothing.
        found = importlib.util.find_spec(name)
        if found is not None and found.origin is not None and found.submodule_search_locations:
            yield str(Path(found.origin).parent), f"{name}/"


def _modules(root: str) -> Iterator[str]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in SKIPPED)
        yield from (os.path.join(folder, name) for name in sorted(files) if name.endswith(".py"))
