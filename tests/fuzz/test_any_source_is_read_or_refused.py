"""Whatever is named as a source, lies in a compressed file or comes back from a server: bytes, or one sentence."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import requests
from hypothesis import example, given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from h2q.train.order import absolute, kept
from stream import cache, formats
from stream.answers import Answer, Broken, asked, encoded, judged
from stream.cache import folder
from stream.gather import gather
from stream.part import read_json
from stream.remote import Transfer, Wish
from stream.source import Source, SourceError, Span, Spec, anonymous, cut, parse
from tests.fuzz.hostile import WORDS, damaged, dear, hostile, kept_or_refused, spelled, spoiled, texts, values

PARTS = [
    *(
        "http://",
        "https://",
        "user:pass@",
        "host",
        "[::1]",
        "[",
        ":80",
        ":99999999",
        ":x",
        "/path",
        "?a=b&c",
        "//",
        " ",
    ),
    *("#bytes=", "#weight=", "#sha256=", "#follow", "&follow", "0-10m", "5-", "-7", "7-3", "9" * 5000, "1e3", "٣-٤"),
    *(
        "f" * 64,
        "python:",
        "-",
        "s3://",
        "a.txt",
        "notes/",
        "\x1b]0;x\x07",
        "\u202e",
        "\ud800",
        "\udcff",
        "\0",
        "%",
        "#",
    ),
]
written = st.lists(st.sampled_from(PARTS) | st.sampled_from(WORDS) | st.text(max_size=5), max_size=6).map("".join)


@hostile
@given(written)
@example("a.txt#bytes=0-" + "9" * 5000)
@example("a.txt#bytes=" + "9" * 5000 + "k-")
@example("\ud800")
@example("a\0b")
@example("http://[")
@example("http://h\ud800/")
@example("http://host/#weight=" + "٣")
@example("http://host:0/")
@example("http://user:secret@host/#bytes=5-")
def test_any_word_is_a_source_or_refused(text: str) -> None:
    spec = kept_or_refused(lambda: parse(text), SourceError)
    if spec is None:
        return
    assert isinstance(spec, Spec)
    assert spec.first >= 0
    assert spec.last is None or spec.first < spec.last
    spec.uri.encode()
    if spec.kind == "url":
        assert "pass@" not in spec.uri
        assert "secret" not in spec.uri
        anonymous(spec.place)
    kept_or_refused(lambda: (absolute(text), kept(text)), SourceError)
    if spec.kind == "path" and not spec.follow and not os.path.isdir(spec.place):
        kept_or_refused(lambda: gather([spec], {}, lambda said: None), SourceError)


@hostile
@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50))), st.integers(0, 200), st.none() | st.integers(0, 200)
)
def test_any_slice_holds_just_those_bytes(spans: list[tuple[int, int]], first: int, last: int | None) -> None:
    source = Source("u", tuple(Span(str(i), a, a + size, "") for i, (a, size) in enumerate(spans)), {})
    whole = [(span.path, at) for span in source.spans for at in range(span.start, span.stop)]
    found = kept_or_refused(lambda: cut(source, first, last), SourceError)
    kept_bytes = [(span.path, at) for span in found.spans for at in range(span.start, span.stop)] if found else []
    assert kept_bytes == whole[first:last]


TEXT = b"a text of some length, and once more: " * 40


def zipped(**members: bytes) -> bytes:
    """An archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as box:
        for name, data in members.items():
            box.writestr(name, data)
    return out.getvalue()


def tarred(mode: str) -> bytes:
    """A tar archive with a file, a folder, a link out of it and a device."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as box:  # type: ignore[call-overload]
        for name, kind in (("a/b", tarfile.REGTYPE), ("../../c", tarfile.REGTYPE), ("a", tarfile.DIRTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.size = kind, len(TEXT) if kind == tarfile.REGTYPE else 0
            box.addfile(member, io.BytesIO(TEXT))
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE):
            member = tarfile.TarInfo("odd")
            member.type, member.linkname = kind, "/etc/passwd"
            box.addfile(member)
    return out.getvalue()


WHOLE = {
    ".gz": gzip.compress(TEXT, mtime=0),
    ".bz2": bz2.compress(TEXT),
    ".xz": lzma.compress(TEXT),
    ".zst": b"\x28\xb5\x2f\xfd" + TEXT,  # whether or not the package that reads them is there
    ".zip": zipped(**{"a.txt": TEXT, "../../out": b"x", "b/c.gz": b"y", "d": TEXT}),
    ".tar": tarred("w"),
    ".tar.gz": tarred("w:gz"),
    ".tgz": tarred("w:gz"),
}


@pytest.fixture
def no_flushing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Copies of damaged files need not survive a power cut."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    yield
    for path in folder("decoded").iterdir():
        path.unlink()


def _copies() -> int:
    return sum(path.stat().st_size for path in cache.folder("decoded").iterdir())


@dear(0.3)
@given(st.sampled_from(sorted(WHOLE)).flatmap(lambda kind: st.tuples(st.just(kind), damaged(WHOLE[kind]))))
def test_any_compressed_file(tmp_path: Path, no_flushing: None, made: tuple[str, bytes]) -> None:
    kind, raw = made
    where = tmp_path / "there"
    where.mkdir(exist_ok=True)
    path = where / f"x{kind}"
    path.write_bytes(raw)
    os.utime(path, ns=(0, hash(raw) & 0x7FFFFFFFFFFF))  # another file, not the one decoded a moment ago
    warned: list[str] = []
    found = kept_or_refused(lambda: gather([parse(str(path))], {}, warned.append), SourceError)
    assert os.listdir(tmp_path) == ["there"]
    assert os.listdir(where) == [path.name]
    for span in found[0].spans if found else ():
        assert Path(span.path).parent in (cache.folder("decoded"), where)
        assert Path(span.path).stat().st_size >= span.stop
    assert all("\n" not in text for text in warned)
    path.unlink()
    if _copies() > 10**7:
        for copy in cache.folder("decoded").iterdir():
            copy.unlink()


def test_a_bomb_is_refused_before_it_fills_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "SWELL_FREELY", 10**6)
    monkeypatch.setattr(formats, "SWELL", 50)
    for name, raw in {
        "x.gz": gzip.compress(bytes(10**7)),
        "x.bz2": bz2.compress(bytes(10**7)),
        "x.xz": lzma.compress(bytes(10**7)),
        "x.zip": zipped(a=bytes(10**7)),
    }.items():
        (tmp_path / name).write_bytes(raw)
        source = parse(str(tmp_path / name))
        assert kept_or_refused(lambda one=source: gather([one], {}, lambda said: None), SourceError) is None  # type: ignore[misc]
        assert _copies() < 10**6


HEADERS = {
    "Content-Range": "bytes 5-9/10",
    "Content-Length": "10",
    "Content-Encoding": "identity",
    "ETag": '"x"',
    "Last-Modified": "Thu, 01 Jan 1970 00:00:00 GMT",
}
odd_headers = st.sampled_from(
    ["²", "9" * 5000, "-1", "1_0", "+5", "bytes 1-2/" + "9" * 5000, "bytes ²-3/4", "bytes */*"]
)


@hostile
@given(
    st.dictionaries(
        st.sampled_from(sorted(HEADERS)), odd_headers | st.text(st.characters(max_codepoint=255), max_size=30)
    ),
    st.sampled_from([200, 206, 304, 404, 416, 429, 500, 0, 999]),
    st.integers(0, 20),
)
@example({"Content-Length": "²"}, 200, 0)
@example({"Content-Length": "9" * 5000}, 200, 0)
@example({"Content-Range": "bytes " + "9" * 5000 + "-1/2"}, 206, 1)
@example({"Content-Range": "bytes 1-1/" + "9" * 5000}, 206, 1)
def test_any_headers_of_an_answer(changed: dict[str, str], status: int, have: int) -> None:
    told = SimpleNamespace(headers=CaseInsensitiveDict(HEADERS | changed), status_code=status, reason="\x1b[2J")
    response = cast(requests.Response, told)
    kept_or_refused(lambda: judged(response, "a label"), SourceError, Broken)
    found = kept_or_refused(lambda: Answer.of(response))
    assert found.total is None or 0 <= found.total < 2**63
    assert found.first is None or 0 <= found.first < 2**63
    assert found.same(found)
    asked(have, found, {})
    encoded(response)


@hostile
@given(spoiled({"etag": '"x"', "modified": "today", "total": 10}) | values, st.binary(max_size=40))
@example({"etag": 5}, b"")
@example({"etag": None, "modified": [], "total": "x"}, b"")
def test_any_note_of_a_broken_download(tmp_path: Path, note: Any, raw: bytes) -> None:
    part = tmp_path / "x.part"
    part.write_bytes(b"part of it")
    try:
        (tmp_path / "x.part.json").write_bytes(raw or spelled(note))
    except ValueError:
        return
    found = kept_or_refused(lambda: Transfer(Wish("http://host/x"), part, {}))
    assert all(isinstance(value, str) for value in asked(found.have, found.answer, {}).values())
    assert isinstance(read_json(tmp_path / "x.part.json"), dict)


@hostile
@given(texts)
def test_any_name_in_a_folder_is_read_under_a_legible_one(tmp_path: Path, name: str) -> None:
    try:
        raw = os.fsencode(name).replace(b"/", b"|").replace(b"\0", b"|")[:200]
        path = tmp_path / os.fsdecode(raw or b"x")
        path.write_bytes(b"text")
    except (OSError, ValueError):
        return
    found = kept_or_refused(lambda: gather([parse(str(tmp_path))], {}, lambda said: None), SourceError)
    for span in found[0].spans if found else ():
        span.label.encode()
    path.unlink()
