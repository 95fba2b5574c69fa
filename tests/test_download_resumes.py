"""A download goes on where it broke, in this run or the next, and is used only when it is whole and the right one."""

from __future__ import annotations

import errno
import gzip
import hashlib
import threading
from pathlib import Path

import pytest

from stream import cache, remote
from stream.lanes import SourceError, open_lanes
from tests.reading import alone, by_lane, every_batch, noise, pipe, web, write

BODY = noise(200_000)
SHA = hashlib.sha256(BODY).hexdigest()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone(tmp_path, monkeypatch)
    monkeypatch.setattr(remote, "PAUSES", (0.0,))


def _silent(sentence: str) -> None:
    raise AssertionError(sentence)


def _read(source: str) -> bytes:
    return b"".join(by_lane(every_batch(open_lanes([source], lanes=5, chunk=128, warn=_silent)), 5))


def _left_behind() -> list[str]:
    return sorted(path.suffix for path in cache.folder("urls").iterdir() if path.suffix != ".lock")


def test_a_connection_cut_midway_is_resumed_where_it_broke() -> None:
    with web(BODY) as server:
        server.cuts = [70_000, 50_000]
        assert _read(server.url + "/f") == BODY
        ranges = [seen.get("Range") for seen in server.seen]
        assert ranges[0] is None
        assert [1 <= int(str(asked)[6:-1]) <= 120_000 for asked in ranges[1:]] == [True, True]
        assert {seen.get("If-Range") for seen in server.seen[1:]} == {'"one"'}
        assert {seen["Accept-Encoding"] for seen in server.seen} == {"identity"}
    assert _left_behind() == [".json"]


def test_a_server_without_ranges_or_with_a_new_version_starts_over() -> None:
    with web(BODY) as server:
        server.cuts, server.ranges = [70_000], False
        assert _read(server.url + "/f") == BODY
        server.cuts, server.ranges = [70_000], True
        server.body, server.etag = BODY[::-1], '"two"'
        assert _read(server.url + "/f") == BODY[::-1]


def test_the_next_run_goes_on_from_the_part_the_last_one_left() -> None:
    with web(BODY) as server:
        server.cuts = [60_000] + [0] * remote.ATTEMPTS_ALL
        with pytest.raises(SourceError, match="bytes were kept, and the next try goes on from there"):
            _read(server.url + "/f")
        assert len(server.seen) <= 1 + remote.ATTEMPTS
        assert _left_behind() == [".json", ".part"]
        server.cuts, asked_before = [], len(server.seen)
        assert _read(server.url + "/f") == BODY
        assert [seen["Range"] for seen in server.seen[asked_before:]] == [f"bytes={7 * remote.BLOCK}-"]


def test_a_part_that_turns_out_to_be_all_of_it_is_done() -> None:
    with web(BODY) as server:
        server.cuts = [60_000] + [0] * remote.ATTEMPTS_ALL
        with pytest.raises(SourceError):
            _read(server.url + "/f")
        (part,) = cache.folder("urls").glob("*.part")
        part.write_bytes(BODY)
        assert _read(server.url + "/f") == BODY
        assert server.seen[-1]["Range"] == f"bytes={len(BODY)}-"


def test_a_wrong_sha256_is_refused_and_nothing_is_kept() -> None:
    with web(BODY) as server:
        with pytest.raises(SourceError, match=f"its sha256 is {SHA}, not {'0' * 64}"):
            _read(f"{server.url}/f#sha256={'0' * 64}")
        assert not list(cache.folder("downloads").iterdir())
        assert _left_behind() == []


def test_the_right_sha256_mends_a_spoiled_part_and_then_needs_no_network() -> None:
    with web(BODY) as server:
        source = f"{server.url}/f#sha256={SHA}"
        server.cuts = [60_000] + [0] * remote.ATTEMPTS_ALL
        with pytest.raises(SourceError):
            _read(source)
        (part,) = cache.folder("urls").glob("*.part")
        part.write_bytes(bytes(60_000))
        server.cuts = []
        assert _read(source) == BODY
        asked = len(server.seen)
        assert _read(source) == BODY
        assert len(server.seen) == asked
    assert _read(source) == BODY


def test_an_unchanged_page_is_not_fetched_again_and_a_vanished_server_is_forgiven() -> None:
    with web(BODY) as server:
        source = server.url + "/f"
        assert _read(source) == BODY
        assert _read(source) == BODY
        assert [seen.get("If-None-Match") for seen in server.seen] == [None, '"one"']
        server.body, server.etag = b"a newer page", '"two"'
        assert _read(source) == b"a newer page"
    said: list[str] = []
    reader = open_lanes([source], lanes=1, chunk=64, warn=said.append)
    assert by_lane(every_batch(reader), 1) == [b"a newer page"]
    assert said == [f"{source} cannot be reached: no connection; the copy fetched earlier is read instead"]


def test_a_resumed_run_reads_the_copy_it_began_with() -> None:
    with web(BODY) as server:
        source = server.url + "/f"
        batches = every_batch(open_lanes([source], lanes=1, chunk=64, warn=_silent))
        server.body, server.etag = b"a newer page", '"two"'
        asked = len(server.seen)
        again = every_batch(open_lanes([source], lanes=1, chunk=64, cursor=batches[99].cursor, warn=_silent))
        assert by_lane(again, 1) == [BODY[6400:]]
        assert len(server.seen) == asked


def test_a_server_in_trouble_is_asked_a_bounded_number_of_times() -> None:
    with web(BODY) as server:
        server.status = 503
        with pytest.raises(SourceError, match="answered 503 Service Unavailable"):
            _read(server.url + "/f")
        assert len(server.seen) == remote.ATTEMPTS


def test_a_body_of_untold_length_is_read_to_its_end() -> None:
    with web(BODY) as server:
        server.length_told, server.etag = False, None
        assert _read(server.url + "/f") == BODY


def test_more_than_the_cap_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "CAP", 100_000)
    with web(BODY) as server:
        for told in (True, False):
            server.length_told = told
            with pytest.raises(SourceError, match=r"has more than|is larger than"):
                _read(server.url + "/f")


def test_a_full_disk_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, blocks: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(cache, "write_whole", full)
    with web(BODY) as server, pytest.raises(SourceError, match="/f cannot be kept: No space left on device"):
        _read(server.url + "/f")


def test_a_compressed_answer_nobody_asked_for_is_read_and_not_resumed() -> None:
    with web(gzip.compress(BODY)) as server:
        server.encoding, server.cuts = "gzip", [70_000]
        assert _read(server.url + "/f") == BODY
        assert [seen.get("Range") for seen in server.seen] == [None, None]


def test_the_suffix_of_the_address_says_how_to_decode() -> None:
    with web(gzip.compress(BODY)) as server:
        assert _read(server.url + "/f.gz?version=2#bytes=10-20k") == BODY[10:20_000]


def test_credentials_stay_out_of_cursor_names_and_cache() -> None:
    with web(BODY) as server:
        source = server.url.replace("//", "//user:hunter2@") + "/f?key=hunter2"
        reader = open_lanes([source], lanes=1, chunk=64, warn=_silent)
        (batch,) = every_batch(reader, at_most=1)
        assert server.seen[0]["Authorization"].startswith("Basic ")
    kept = [path.name.encode() + path.read_bytes() for path in cache.folder("urls").iterdir()]
    assert b"hunter2" not in b"".join(kept)
    assert "hunter2" not in f"{batch.cursor}{reader.names}{batch.places}"


def test_two_programs_fetching_one_address_do_not_mix_their_parts() -> None:
    with web(BODY) as server:
        found: list[remote.Download] = []
        wish = remote.Wish(server.url + "/f")
        both = [threading.Thread(target=lambda: found.append(remote.fetch(wish, _silent))) for _ in range(2)]
        for one in both:
            one.start()
        for one in both:
            one.join()
    assert [one.sha256 for one in found] == [SHA, SHA]
    assert _left_behind() == [".json"]


def test_stored_and_live_sources_go_together(tmp_path: Path) -> None:
    with web(b"page") as server, pipe() as (out, _):
        sources = [server.url, write(tmp_path / "f", b"file"), "-"]
        reader = open_lanes(sources, lanes=2, chunk=64, stdin_fd=out, warn=_silent)
        assert (reader.total, reader.count, reader.names) == (8, 3, sources)
        reader.close()
