"""An address of any scheme that fsspec knows reads like a file: fetched once, whole, under the rules of a download."""

from __future__ import annotations

import builtins
import gzip
import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from h2q.train.order import absolute, kept
from stream import cache, formats, remote, schemes
from stream.apart import check_apart
from stream.lanes import SourceError, check_sources, open_lanes
from stream.source import anonymous, parse
from tests.reading import alone, by_lane, every_batch, noise, write

BODY = noise(100_000)
SHA = hashlib.sha256(BODY).hexdigest()
PLACE = "memory://shelf/book"


class Odd(MemoryFileSystem):  # type: ignore[misc]
    """The files of memory://, with a host, a password and troubles on order."""

    protocol = "odd"
    trouble: Exception | None = None
    broken_after: int | None = None
    versioned = True
    opened: list[int] = []  # noqa: RUF012 -- one for all, as the files are
    given: dict[str, Any] = {}  # noqa: RUF012
    silent: threading.Event | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        Odd.given = options

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.split("://")[-1].partition("/")[2].rstrip("/")

    @staticmethod
    def _get_kwargs_from_urls(path: str) -> dict[str, str]:
        user, at, host = path.split("://")[1].partition("/")[0].rpartition("@")
        return {"login": user, "host": host} if at else {"host": host}

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        if Odd.silent is not None:
            Odd.silent.wait(10)
        if Odd.trouble is not None:
            raise Odd.trouble
        found = dict(super().info(path))
        if not Odd.versioned:
            del found["created"]
        return found

    def open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        file = io.BytesIO(self.cat_file(path))
        real = file.read

        def read(size: int = -1) -> bytes:
            Odd.opened.append(file.tell())
            if Odd.broken_after is not None and file.tell() >= Odd.broken_after:
                raise ConnectionResetError("odd://user:hunter2@host/ broke")
            return real(min(size, 10_000))

        file.read = read  # type: ignore[method-assign,assignment]
        return file


@pytest.fixture(autouse=True)
def _shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    alone(tmp_path, monkeypatch)
    fsspec.register_implementation("odd", Odd, clobber=True)
    for name, value in {"trouble": None, "broken_after": None, "versioned": True, "silent": None}.items():
        monkeypatch.setattr(Odd, name, value)
    monkeypatch.setattr(Odd, "opened", [])
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pseudo_dirs[:] = [""]
    memory.pipe("/shelf/book", BODY)
    yield
    memory.store.clear()


def _silent(sentence: str) -> None:
    raise AssertionError(sentence)


def _read(source: str, said: list[str] | None = None, **more: Any) -> bytes:
    warn = _silent if said is None else said.append
    return b"".join(by_lane(every_batch(open_lanes([source], lanes=2, chunk=4096, warn=warn, **more)), 2))


def _refusal(source: str, both: bool = True) -> str:
    with pytest.raises(SourceError) as opened:
        open_lanes([source], lanes=1, chunk=8, warn=_silent)
    if both:
        with pytest.raises(SourceError, match=r".") as looked:
            check_sources([source], _silent)
        assert str(looked.value) == str(opened.value)
    return str(opened.value)


def test_an_address_is_read_and_kept_as_a_download() -> None:
    check_sources([PLACE], _silent)
    assert not list(cache.folder("downloads").iterdir()), "a look fetched it"
    assert _read(PLACE) == BODY
    assert [path.name for path in cache.folder("downloads").iterdir()] == [SHA]
    assert _read(f"{PLACE}#bytes=10-20k") == BODY[10:20_000]
    assert _read(f"{PLACE}#weight=2&sha256={SHA}") == BODY
    assert remote.copy(PLACE) is not None


def test_the_suffix_of_the_address_says_how_to_decode() -> None:
    fsspec.filesystem("memory").pipe("/shelf/book.gz", gzip.compress(BODY))
    for _ in range(2):
        assert _read("memory://shelf/book.gz") == BODY
        assert len(list(cache.folder("decoded").iterdir())) == 1, "it was decoded again"


def test_a_version_we_have_is_not_fetched_again_and_another_is() -> None:
    assert (_read("odd://host/shelf/book"), Odd.opened[0]) == (BODY, 0)
    Odd.opened.clear()
    assert (_read("odd://host/shelf/book"), Odd.opened) == (BODY, [])
    fsspec.filesystem("memory").pipe("/shelf/book", BODY[::-1])
    assert _read("odd://host/shelf/book") == BODY[::-1]


def test_what_has_no_version_is_fetched_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Odd, "versioned", False)
    for text in (BODY, BODY[::-1]):
        fsspec.filesystem("memory").pipe("/shelf/book", text)
        assert _read("odd://host/shelf/book") == text


def test_a_broken_transfer_goes_on_where_it_stood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Odd, "broken_after", 40_000)
    said = _refusal("odd://user:hunter2@host/shelf/book", both=False)
    assert said == "odd://host/shelf/book cannot be reached: no connection"
    monkeypatch.setattr(Odd, "broken_after", None)
    Odd.opened.clear()
    assert _read("odd://host/shelf/book") == BODY
    assert Odd.opened[0] == 40_000


def test_a_part_of_another_version_is_not_glued_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Odd, "broken_after", 40_000)
    _refusal("odd://host/shelf/book", both=False)
    monkeypatch.setattr(Odd, "broken_after", None)
    fsspec.filesystem("memory").pipe("/shelf/book", BODY[::-1])
    assert _read("odd://host/shelf/book") == BODY[::-1]


def test_the_copy_is_read_when_the_place_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    _read("odd://host/shelf/book")
    monkeypatch.setattr(Odd, "trouble", RuntimeError("password hunter2"))
    said: list[str] = []
    assert _read("odd://host/shelf/book", said) == BODY
    assert said == [
        "odd://host/shelf/book cannot be read: its filesystem gave up with RuntimeError; "
        "the copy fetched earlier is read instead"
    ]


def test_a_resumed_run_reads_the_copy_it_began_with() -> None:
    reader = open_lanes([PLACE], lanes=1, chunk=1000, warn=_silent)
    batches = every_batch(reader, at_most=30)
    fsspec.filesystem("memory").pipe("/shelf/book", b"other")
    again = open_lanes([PLACE], lanes=1, chunk=1000, warn=_silent, cursor=batches[-1].cursor)
    assert by_lane(every_batch(again), 1) == [BODY[30_000:]]


def test_a_place_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemes, "PATIENCE", 0.05)
    monkeypatch.setattr(Odd, "silent", threading.Event())
    assert _refusal("odd://host/shelf/book") == "odd://host/shelf/book did not answer in time"
    assert Odd.silent is not None
    Odd.silent.set()


def test_no_credential_is_shown_or_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    source = "odd://user:hunter2@host/shelf/book?sig=hunter2"
    spec = parse(source + "#bytes=0-5")
    assert (spec.kind, spec.uri) == ("remote", "odd://host/shelf/book?sig=...#bytes=0-5")
    assert kept("odd://user:hunter2@host/f#bytes=0-5&weight=2") == "odd://host/f#bytes=0-5&weight=2"
    fsspec.filesystem("memory").pipe("/shelf/book?sig=hunter2", BODY)
    reader = open_lanes([source], lanes=1, chunk=64, warn=_silent)
    (batch,) = every_batch(reader, at_most=1)
    assert Odd.given["login"] == "user:hunter2"
    files = [path.name.encode() + path.read_bytes() for path in cache.folder("urls").iterdir()]
    assert b"hunter2" not in b"".join(files)
    assert "hunter2" not in f"{batch.cursor}{reader.names}{batch.places}"
    for error in (
        OSError(5, "hunter2"),
        ValueError("hunter2"),
        PermissionError("hunter2"),
        FileNotFoundError("hunter2"),
    ):
        monkeypatch.setattr(Odd, "trouble", error)
        assert "hunter2" not in _refusal("odd://user:hunter2@other/x")


def test_names_that_are_part_of_a_place_stay() -> None:
    assert anonymous("abfs://box@account.dfs.core.windows.net/K#1") == "abfs://box@account.dfs.core.windows.net/K#1"
    assert anonymous("s3://KEY:SECRET@Bucket/a b#c") == "s3://Bucket/a b#c"
    assert parse("hf://datasets/user/Repo@main/file.txt").uri == "hf://datasets/user/Repo@main/file.txt"


def test_folders_missing_empty_and_large_places_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.filesystem("memory").pipe("/shelf/empty", b"")
    assert _refusal("memory://shelf") == "memory://shelf is a folder; name one file of it"
    assert _refusal("memory://shelf/none") == "memory://shelf/none does not exist"
    assert _refusal("memory://shelf/empty") == "memory://shelf/empty is empty"
    wrong = f"{PLACE}#sha256={'0' * 64}"
    assert _refusal(wrong, both=False).startswith(f"{PLACE} is not the file it should be: its sha256 is {SHA}")
    monkeypatch.setattr(cache, "room", lambda where: 5_000)
    assert _refusal(PLACE, both=False) == f"{PLACE} is larger than the space there is for it"
    monkeypatch.setattr(remote, "CAP", 50_000)
    assert _refusal(PLACE).startswith(f"{PLACE} has more than")


def test_schemes_that_wrap_or_are_unknown_are_refused() -> None:
    for source in ("zip://a.txt::http://127.0.0.1:1/x.zip", "simplecache::s3://bucket/key", "memory://a::b"):
        assert _refusal(source).startswith("several addresses chained with :: are not read")
    for scheme in (
        "simplecache",
        "reference",
        "dask",
        "jupyter",
        "dir",
        "zip",
        "tar",
        "libarchive",
        "github",
        "generic",
    ):
        assert _refusal(f"{scheme}://x/y").startswith(f"{scheme}:// is not read: it wraps another place")
    assert _refusal("gopher://host/f") == "gopher:// is not read: no way to such an address is known"
    assert _refusal("memory://a\nb").startswith("the memory:// address has no usable")
    assert _refusal("sftp://user:hunter/2@host/f").startswith("the sftp:// address has no usable")
    for source in ("s3://bucket/log#follow", "memory://shelf/book#follow"):
        with pytest.raises(SourceError, match="cannot be followed; only files, http:// and https:// can"):
            parse(source)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec.register_implementation(
        "faraway", "no_such_package.System", errtxt="Install faraway to go there", clobber=True
    )
    assert _refusal("faraway://x/y") == "faraway:// cannot be read: Install faraway to go there"
    real = builtins.__import__

    def without(name: str, *args: Any, **more: Any) -> Any:
        if name == "fsspec":
            raise ImportError(name)
        return real(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    assert _refusal("s3://bucket/key") == "s3:// needs the package fsspec, which is not installed"


def test_a_file_address_is_that_very_file(tmp_path: Path) -> None:
    name = write(tmp_path / "a b.txt", BODY)
    source = (tmp_path / "a b.txt").as_uri()
    assert _read(f"{source}#bytes=5-") == BODY[5:]
    assert not (tmp_path / "cache").exists(), "nothing is copied"
    assert (parse(source).uri, absolute(source), kept(source)) == (name, source, source)
    assert _read(tmp_path.as_uri()) == BODY
    with pytest.raises(SourceError, match="cannot be held out"):
        check_apart([name], [source])


def test_an_archive_behind_an_address_is_opened() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as box:
        about = tarfile.TarInfo("a")
        about.size = len(BODY)
        box.addfile(about, io.BytesIO(BODY))
    fsspec.filesystem("memory").pipe("/box.tgz", gzip.compress(out.getvalue()))
    assert _read("memory://box.tgz") == BODY
    assert formats.suffix_of("memory://box.tgz") == ".tgz"
