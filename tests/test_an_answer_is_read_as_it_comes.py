"""An answer that does not end is read byte by byte, waits for its reader, and survives its connections."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest

from stream import inlets
from stream.lanes import check_sources, open_lanes
from stream.source import SourceError
from tests.reading import every_batch, noise
from tests.speaker import CUT, Heard, Speaker, speaker

__all__ = ["speaker"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_trickle_arrives_byte_by_byte_and_the_end_is_the_end(speaker: Speaker, chunked: bool) -> None:
    speaker.chunked = chunked
    heard = Heard(speaker, chunk=1)
    for letter in (b"a", b"b", b"c"):
        speaker.words.put(letter)
        assert heard.take(1) == letter  # the next is not even said yet
    assert not heard.lanes.finished
    speaker.words.put(b"")
    assert heard.over()
    assert heard.lanes.finished
    assert heard.said == []
    assert heard.lanes.names == [speaker.label + "#follow"]
    assert heard.cursor["live"] == [
        {"uri": speaker.label + "#follow", "bytes": 3, "answer": {"position": 3, "etag": '"one"', "modified": None}}
    ]
    heard.lanes.close()


def test_an_answer_waits_for_who_reads_it(speaker: Speaker) -> None:
    speaker.text = noise(20_000_000)
    heard = Heard(speaker, chunk=4096)
    assert heard.take(4096) == speaker.text[:4096]
    before = -1
    while speaker.sent > before:
        before = speaker.sent
        time.sleep(0.2)
    assert speaker.sent < 12_000_000  # what sockets and the pipe hold
    assert heard.take(1_000_000 - 4096)[-10:] == speaker.text[: heard.cursor["live"][0]["bytes"]][-10:]
    heard.lanes.close()


@pytest.mark.parametrize("chunked", [False, True])
def test_a_broken_connection_is_taken_up_at_the_very_next_byte(speaker: Speaker, chunked: bool) -> None:
    speaker.ranges, speaker.chunked = True, chunked
    speaker.words.put(b"abcd")
    heard = Heard(speaker)
    assert heard.take(4) == b"abcd"
    speaker.words.put(CUT)
    speaker.words.put(b"efgh")
    assert heard.take(4) == b"efgh"
    assert speaker.seen[1]["Range"] == "bytes=4-"
    assert speaker.seen[1]["If-Range"] == '"one"'
    assert {seen["Accept-Encoding"] for seen in speaker.seen} == {"identity"}
    speaker.words.put(b"")
    assert heard.over()
    assert heard.said == [f"{speaker.label} broke off in the middle of its answer; it was taken up again at byte 4"]
    heard.lanes.close()


def test_a_server_without_ranges_that_sends_the_same_version_again_is_read_on(speaker: Speaker) -> None:
    speaker.words.put(b"abcdefgh")
    heard = Heard(speaker)
    assert heard.take(8) == b"abcdefgh"
    speaker.words.put(CUT)
    speaker.words.put(b"ijkl")
    assert heard.take(4) == b"ijkl"
    assert len(heard.said) == 1
    heard.lanes.close()


def test_where_nobody_can_know_what_is_missing_it_is_said(speaker: Speaker) -> None:
    speaker.tag, speaker.forgetful = "", True
    speaker.words.put(b"abcd")
    heard = Heard(speaker)
    assert heard.take(4) == b"abcd"
    speaker.words.put(CUT)
    speaker.words.put(b"wxyz")
    assert heard.take(4) == b"wxyz"
    assert heard.said == [
        f"{speaker.label} does not go on where it broke off (byte 4): what it sends now is read from its beginning, "
        "so bytes may be missing or come twice"
    ]
    assert heard.cursor["live"][0]["answer"]["position"] == 4  # of the new answer
    assert heard.cursor["live"][0]["bytes"] == 8
    heard.lanes.close()


def test_a_resumed_run_asks_for_the_very_next_byte(speaker: Speaker) -> None:
    speaker.ranges = True
    speaker.words.put(b"abcdefgh")
    heard = Heard(speaker)
    batch = heard.lanes.next(5.0)
    assert batch is not None
    heard.lanes.close()
    speaker.words.put(CUT)
    again = Heard(speaker, cursor=batch.cursor)
    assert again.take(4) == b"efgh"
    assert again.said == []
    assert again.cursor["live"][0]["bytes"] == 8
    again.lanes.close()
    speaker.words.put(CUT)
    speaker.tag = '"two"'
    third = Heard(speaker, cursor=again.cursor)
    assert third.take(8) == b"abcdefgh"
    assert len(third.said) == 1
    assert "may be missing or come twice" in third.said[0]
    third.lanes.close()


def test_another_version_from_a_server_that_does_not_look_at_if_range_is_not_glued_on(speaker: Speaker) -> None:
    speaker.ranges = True
    speaker.words.put(b"abcd")
    heard = Heard(speaker)
    assert heard.take(4) == b"abcd"
    speaker.text, speaker.tag, speaker.careless = b"ABCDEFGH", '"two"', True
    speaker.words.put(CUT)
    assert heard.take(8) == b"ABCDEFGH"
    assert "may be missing or come twice" in heard.said[0]
    heard.lanes.close()


def test_a_run_goes_on_with_its_other_sources_where_an_address_is_gone(speaker: Speaker, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"stored" * 2)
    sources, said = [str(tmp_path / "f"), speaker.url + "#follow"], list[str]()
    lanes = open_lanes(sources, lanes=1, chunk=6, warn=pytest.fail)
    batch = lanes.next(0.0)
    assert batch is not None
    lanes.close()
    speaker.words.put(CUT)
    speaker.status = 404
    lanes = open_lanes(sources, lanes=1, chunk=6, warn=said.append, cursor=batch.cursor)
    assert lanes.count == 2  # the lane and its state stay
    assert [batch.kinds for batch in every_batch(lanes)] == [("stored",)]
    assert lanes.finished
    assert said == [f"left out: {speaker.label} answered 404 Not Found"]
    lanes.close()
    with pytest.raises(SourceError, match="404"):
        Heard(speaker, cursor={**batch.cursor, "sources": [], "lanes": []})


def test_reading_begins_at_the_byte_that_is_asked_for(speaker: Speaker) -> None:
    for speaker.ranges in (True, False):
        speaker.text = b"0123456789"
        heard = Heard(speaker, "bytes=6-&")
        assert heard.take(4) == b"6789"
        assert heard.said == []
        heard.lanes.close()
        speaker.words.put(b"")


def test_a_start_that_is_refused_is_one_sentence_without_secrets(speaker: Speaker) -> None:
    for status, sentence in ((404, "answered 404 Not Found"), (503, "answered 503 Service Unavailable")):
        speaker.status = status
        with pytest.raises(SourceError) as refused:
            Heard(speaker)
        assert str(refused.value) == f"{speaker.label} {sentence}"
    speaker.status, speaker.coding = 200, "gzip"
    with pytest.raises(SourceError, match="compresses its answer, so it cannot be followed"):
        Heard(speaker)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/x"
        check_sources([url + "#follow"], pytest.fail)  # it is asked when it is read
        with pytest.raises(SourceError, match="cannot be reached: no connection"):
            open_lanes([url + "#follow"], lanes=1, chunk=4, warn=pytest.fail)


def test_a_server_that_is_down_later_is_tried_until_it_is_back(speaker: Speaker) -> None:
    speaker.ranges = True
    speaker.words.put(b"abcd")
    heard = Heard(speaker)
    assert heard.take(4) == b"abcd"
    speaker.status = 503
    speaker.words.put(CUT)
    while len(speaker.seen) < 6:
        heard.lanes.next(0.01)
    speaker.status = 200
    speaker.words.put(b"efgh")
    assert heard.take(4) == b"efgh"
    assert heard.said == [
        f"{speaker.label} answered 503 Service Unavailable; it is tried again until it answers",
        f"{speaker.label} broke off in the middle of its answer; it was taken up again at byte 4",
    ]
    speaker.status = 410
    speaker.words.put(CUT)
    assert heard.over()
    assert heard.said[2:] == [f"{speaker.label} answered 410 Gone; nothing more is read of it"]
    heard.lanes.close()


def test_an_answer_that_is_over_since_is_the_end_for_a_resumed_run(speaker: Speaker) -> None:
    speaker.ranges = True
    speaker.words.put(b"abcd")
    heard = Heard(speaker)
    heard.take(4)
    heard.lanes.close()
    speaker.words.put(CUT)
    speaker.forgetful = True
    again = Heard(speaker, cursor=heard.cursor)
    assert again.over()
    assert again.said == []
    again.lanes.close()


def test_a_server_that_does_not_answer_yet_holds_nothing_up(
    speaker: Speaker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(inlets, "ANSWER_SECONDS", 0.1)
    (tmp_path / "f").write_bytes(b"stored")
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/x"
        said: list[str] = []
        lanes = open_lanes([str(tmp_path / "f"), url + "#follow"], lanes=1, chunk=8, warn=said.append)
        batch = lanes.next(0.0)
        assert batch is not None
        assert batch.kinds == ("stored",)
        assert said == [f"{url} has not answered yet; reading waits for it"]
        began = time.monotonic()
        lanes.close()  # though the thread waits for an answer
        assert time.monotonic() - began < 1.0
        assert not [thread for thread in threading.enumerate() if thread.name == "ongoing"]


def test_the_thread_ends_with_the_lanes(speaker: Speaker) -> None:
    speaker.words.put(b"abcd")
    heard = Heard(speaker)
    heard.take(4)
    assert [thread for thread in threading.enumerate() if thread.name == "ongoing"]
    heard.lanes.close()
    heard.lanes.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "ongoing"]


def test_a_damaged_place_is_refused(speaker: Speaker) -> None:
    entry = {"uri": speaker.label + "#follow", "bytes": 4, "answer": {"position": "x", "etag": None, "modified": None}}
    for answer in (entry["answer"], {}, 5):
        cursor = {"version": 1, "epoch": 1, "lanes": [], "sources": [], "live": [{**entry, "answer": answer}]}
        with pytest.raises(SourceError, match="is damaged"):
            Heard(speaker, cursor=cursor)
