"""A talker's words arrive whole and safe, the person goes before the samples, and a talker that ends is a sentence."""

import sys
import time
from collections.abc import Callable, Iterator

import pytest

from tests.tui.talker import __name__ as TALKER
from tui.conversation import SAMPLE_SECONDS, Conversation
from tui.sanitise import FORBIDDEN
from tui.talk import Talker
from tui.turns import Turn

ARGV = [sys.executable, "-m", TALKER]


@pytest.fixture
def conversation() -> Iterator[Conversation]:
    found = Conversation(lambda: Talker(ARGV))
    yield found
    found.close()


def until(
    conversation: Conversation, enough: Callable[[], bool], *, now: float = 0.0, may_sample: bool = False
) -> None:
    """Tick until it is enough; fails after ten seconds."""
    deadline = time.monotonic() + 10
    while not enough():
        assert time.monotonic() < deadline, conversation.turns
        conversation.tick(now, may_sample=may_sample)
        time.sleep(0.005)


def last(conversation: Conversation) -> Turn:
    return conversation.turns[-1]


def test_a_reply_streams_to_its_end_with_the_weights_that_spoke(conversation: Conversation) -> None:
    conversation.say("The lobster is")
    assert [turn.who for turn in conversation.turns] == ["you", "model"]
    assert conversation.replying
    until(conversation, lambda: last(conversation).done)
    assert last(conversation).text == "si retsbol ehT"
    assert last(conversation).step == 774
    assert conversation.status() == "learn off · temperature 0.8 · weights step 774, just now"
    assert not conversation.replying


def test_a_notice_of_the_talker_is_a_note_in_the_talk(conversation: Conversation) -> None:
    conversation.say("news")
    until(conversation, lambda: all(turn.done for turn in conversation.turns))
    assert [(turn.who, turn.text) for turn in conversation.turns][1:] == [("model", "swen"), ("note", "Compiling.␛")]


def test_hostile_words_are_made_safe(conversation: Conversation) -> None:
    conversation.say("\x1b]52;c;aGk=\x07 [/x] \u202e")
    until(conversation, lambda: last(conversation).done)
    assert not FORBIDDEN & set("".join(turn.text for turn in conversation.turns))
    assert "]x/[" in last(conversation).text


def test_samples_come_by_themselves_at_their_interval(conversation: Conversation) -> None:
    until(conversation, lambda: bool(conversation.samples) and conversation.samples[-1].done, now=1.0, may_sample=True)
    assert conversation.samples[-1].text == "a sample"
    conversation.tick(1.0 + SAMPLE_SECONDS / 2, may_sample=True)
    assert len(conversation.samples) == 1
    conversation.tick(1.0 + SAMPLE_SECONDS, may_sample=True)
    assert len(conversation.samples) == 2


def test_a_reply_can_be_stopped(conversation: Conversation) -> None:
    conversation.say("slow words")
    until(conversation, lambda: last(conversation).text == "sdrow wols")
    assert not last(conversation).done
    conversation.stop()
    until(conversation, lambda: last(conversation).done)
    assert not conversation.replying


def test_an_error_is_a_note_and_the_talk_goes_on(conversation: Conversation) -> None:
    conversation.say("fail")
    until(conversation, lambda: last(conversation).who == "note")
    assert last(conversation).text == "No weights were published yet."
    conversation.say("again")
    until(conversation, lambda: last(conversation).text == "niaga")


def test_a_talker_that_ends_is_a_sentence_and_speaking_starts_another(conversation: Conversation) -> None:
    conversation.say("die")
    until(conversation, lambda: last(conversation).who == "note")
    assert last(conversation).text == "The talker has ended."
    conversation.tick(100.0, may_sample=True)
    assert not conversation.samples  # not by itself
    conversation.say("hello")
    until(conversation, lambda: last(conversation).text == "olleh")


def test_what_a_dying_talker_said_is_told() -> None:
    program = "import sys; sys.stdin.readline(); sys.exit('There is no run of that name.')"
    conversation = Conversation(lambda: Talker([sys.executable, "-c", program]))
    conversation.say("hello")
    until(conversation, lambda: last(conversation).who == "note")
    assert last(conversation).text == "The talker has ended: There is no run of that name."
    conversation.close()


def test_a_talker_that_cannot_start_is_a_sentence() -> None:
    conversation = Conversation(lambda: Talker(["/no/such/program"]))
    conversation.say("hello")
    assert last(conversation).text == "The talker could not be started: No such file or directory."


def test_with_learning_on_the_engine_hears_both_and_the_reply_is_masked() -> None:
    heard: list[tuple[str, bool]] = []
    conversation = Conversation(
        lambda: Talker(ARGV), feed=lambda text, masked: heard.append((text, masked)), learn=True
    )
    conversation.say("abc")
    until(conversation, lambda: last(conversation).done)
    assert heard == [("abc", False), ("cba\n", True)]
    conversation.learn = False
    conversation.say("def")
    until(conversation, lambda: last(conversation).done)
    assert len(heard) == 2
    conversation.close()


def test_forgetting_and_clearing_leave_no_turns_behind(conversation: Conversation) -> None:
    conversation.say("abc")
    until(conversation, lambda: last(conversation).done)
    conversation.clear()
    assert not conversation.turns
    conversation.forget()
    assert [turn.text for turn in conversation.turns] == ["A new conversation."]
