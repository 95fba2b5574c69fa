"""Talking: replies stream as whole characters from weights that get newer, and the run never notices.

The talker of these tests is the real one: its class in this process, or its process where a run goes on beside it.
"""

import io
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import main
from h2q.chat import Conversation
from h2q.commands.engine import operate
from h2q.commands.train import begun, parser
from h2q.generate import Characters, Mind, Speaker, generate, sharpen
from h2q.train.run import Run
from h2q.train.talker import Talker
from h2q.train.voice import Voice, open_voice
from tests.conftest import SMALLEST, Command, Ear, steps_of, text_of
from tests.test_checkpoint_refuses import relist

PATIENCE = 30.0


@pytest.fixture(scope="module")
def voice(tmp_path_factory: pytest.TempPathFactory) -> Voice:
    """The voice of a run of forty steps, saved."""
    folder = tmp_path_factory.mktemp("voice")
    (folder / "a.txt").write_bytes(text_of(8000))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main.main(["train", "a.txt", *SMALLEST, "--run", "one", "--steps", "40", "--ui", "none"]) == 0
        return open_voice("one", print)


def written(speaker: Speaker, prompt: bytes, count: int, seed: int, temperature: float = 1.0) -> bytes:
    """What a speaker writes after a prompt."""
    mind = speaker.read(speaker.zeros(), prompt)[1]
    generator = torch.Generator().manual_seed(seed)
    return bytes(byte for byte, _ in generate(speaker, mind, count, generator, temperature))


def test_the_same_seed_writes_the_same_and_no_global_generator_is_touched(voice: Voice) -> None:
    before = torch.random.get_rng_state()
    one, two, other = (written(voice.speaker, b"the sea ", 60, seed) for seed in (1, 1, 2))
    assert one == two != other
    assert torch.equal(before, torch.random.get_rng_state())
    assert written(voice.speaker, b"the sea ", 30, 1, 0.0) == written(voice.speaker, b"the sea ", 30, 2, 0.0)


def test_a_sampled_byte_has_the_probability_it_would_be_charged(voice: Voice) -> None:
    speaker, text = voice.speaker, b"the sea was calm and a small boat"
    bits, _ = speaker.read(speaker.zeros(), text)
    mind, peeked = speaker.zeros(), []
    for byte in text:
        chances, waiting = speaker.peek(mind)
        assert float(chances.sum()) == pytest.approx(1.0, abs=1e-6)
        peeked.append(-float(chances[byte].log2()))
        mind = speaker.observe(waiting, byte)
    assert peeked == pytest.approx(bits, abs=1e-3)


def test_a_fork_leaves_its_origin_alone(voice: Voice) -> None:
    speaker = voice.speaker
    mind = speaker.read(speaker.zeros(), b"the sea ")[1]
    first = speaker.peek(mind)[0]
    for _ in generate(speaker, mind, 20, torch.Generator().manual_seed(0)):
        pass
    assert torch.equal(speaker.peek(mind)[0], first)


def test_temperature_and_top_p_sharpen() -> None:
    chances = torch.tensor([0.5, 0.3, 0.15, 0.05], dtype=torch.float64)
    assert torch.allclose(sharpen(chances, 1.0, 1.0), chances)
    assert sharpen(chances, 0.0, 1.0).tolist() == [1, 0, 0, 0]
    assert sharpen(chances, 1.0, 0.7).tolist() == pytest.approx([0.625, 0.375, 0, 0])
    assert sharpen(chances, 0.5, 1.0)[0] > 0.5 > sharpen(chances, 2.0, 1.0)[0]


def test_characters_come_whole_however_bytes_are_cut() -> None:
    data = "naïve 狗 🐕".encode() + b"\xff\xe7\x8b"
    whole = data.decode("utf-8", "surrogateescape")  # a pipe gets the exact bytes back; a terminal, U+FFFD
    for size in (1, 2, 3, 5):
        characters = Characters()
        pieces = [characters.take(data[i : i + size]) for i in range(0, len(data), size)] + [characters.rest()]
        assert "".join(pieces) == whole


def test_a_long_prompt_is_read_in_portions_and_can_be_stopped(voice: Voice, monkeypatch: pytest.MonkeyPatch) -> None:
    speaker, text, sizes = voice.speaker, text_of(150), list[int]()
    whole, mind = speaker.read(speaker.zeros(), text)
    read = Speaker._read
    monkeypatch.setattr("h2q.generate.PORTION", 64)

    def counted(self: Speaker, mind: Mind, data: bytes) -> tuple[list[float], Mind]:
        sizes.append(len(data))
        return read(self, mind, data)

    monkeypatch.setattr(Speaker, "_read", counted)
    parts, after = speaker.read(speaker.zeros(), text)
    assert sizes == [64, 64, 22]
    assert parts == pytest.approx(whole, abs=1e-3)
    assert torch.allclose(speaker.peek(after)[0], speaker.peek(mind)[0], atol=1e-6)
    conversation = Conversation()
    conversation.stopped = lambda: True
    assert list(conversation.reply(speaker, text, 20)) == []
    assert len(sizes) == 3


def test_bytes_that_are_no_utf8_are_heard_as_they_are(voice: Voice) -> None:
    told = events(voice, {"verb": "surprise", "text": "\udcff\udcfe"}, {"verb": "surprise", "text": "\ud800"})
    assert [fact["event"] for fact in told] == ["ready", "surprise", "error"]
    assert told[1]["bits"] == pytest.approx(voice.speaker.read(voice.speaker.zeros(), b"\xff\xfe")[0], abs=1e-3)


def events(voice: Voice, *requests: dict[str, Any]) -> list[dict[str, Any]]:
    """What a talker answers."""
    out = io.StringIO()
    assert Talker(voice, out, seed=3).serve([json.dumps(request) for request in requests]) == 0
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_every_request_is_answered_and_carries_step_and_age(voice: Voice) -> None:
    # `stop` is heard as soon as the end of the requests is, so nothing here may need long.
    told = events(voice, {"verb": "surprise", "text": "the sea"}, {"verb": "dance"}, {"verb": "say", "bytes": 0}, {})
    assert [fact["event"] for fact in told] == ["ready", "surprise", "error", "error", "error"]
    assert len(told[1]["bits"]) == 7
    assert all(fact["step"] == 40 and fact["age"] >= 0 for fact in told)


def test_a_conversation_remembers_until_it_forgets(voice: Voice) -> None:
    conversation = Conversation()
    fresh = conversation.surprise(voice.speaker, b"boat")
    list(conversation.reply(voice.speaker, b"a small ", 20))
    assert conversation.surprise(voice.speaker, b"boat") != fresh
    conversation.forget()
    assert conversation.surprise(voice.speaker, b"boat") == fresh


class Process:
    """A talker process beside a run."""

    def __init__(self, run: str) -> None:
        command = [sys.executable, main.__file__, "talker", run]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def hear(self) -> dict[str, Any]:
        """The next event."""
        assert self.process.stdout is not None
        return dict(json.loads(self.process.stdout.readline()))

    def say(self, text: str, verb: str = "say") -> list[dict[str, Any]]:
        """A whole reply, greedy, so that the weights alone decide it."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"verb": verb, "text": text, "temperature": 0, "bytes": 24}) + "\n")
        self.process.stdin.flush()
        told = [self.hear()]
        while told[-1]["event"] not in ("done", "error", "surprise"):
            told.append(self.hear())
        return told

    def close(self) -> int:
        """End its input; the exit code."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        code = self.process.wait(PATIENCE)
        self.process.stdout.close()
        return code


def test_a_run_that_is_talked_to_is_bit_identical_and_its_weights_get_newer(h2q: Command, here: Path) -> None:
    (here / "a.txt").write_bytes(text_of(32_000))
    run, order = begun(parser().parse_args(["a.txt", *SMALLEST, "--run", "talked"]))
    talked = threading.Event()
    # In no hurry before it was talked to, and in less the nearer the end: a busy machine starts talkers slowly.
    ear = Ear(lambda fact: fact["event"] == "step" and talked.wait(0.1 if fact["step"] < 200 else 2.0))
    codes: list[int] = []
    engine = threading.Thread(target=lambda: codes.append(operate(run, order, [ear], 0.0)))
    engine.start()
    deadline = time.monotonic() + PATIENCE
    while not (run.folder / "engine.sock").exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    talker = Process("talked")
    assert talker.hear()["event"] == "ready"
    first = second = talker.say("the sea was calm", "surprise")
    while second[-1]["step"] == first[-1]["step"] and engine.is_alive():
        assert talker.say("and a small boat")[-1]["event"] == "done"
        second = talker.say("the sea was calm", "surprise")
    assert second[-1]["step"] > first[-1]["step"]
    assert second[-1]["bits"] != first[-1]["bits"]
    assert talker.close() == 0
    talked.set()
    engine.join(PATIENCE)
    assert codes == [0]
    assert h2q("train", "a.txt", *SMALLEST, "--run", "alone", "--ui", "none") == 0
    assert steps_of(here / "runs/alone") == steps_of(run.folder)
    assert len(steps_of(run.folder)) == 250


def test_chat_in_a_pipe_prints_the_reply_and_nothing_else(h2q: Command, text: Path) -> None:
    assert h2q("train", text, *SMALLEST, "--run", "one", "--steps", 30, "--ui", "none") == 0
    done = subprocess.run(
        [sys.executable, main.__file__, "chat", "one"], input=b"a small boat", capture_output=True, check=False
    )
    assert done.returncode == 0
    assert done.stderr == b""
    assert done.stdout
    assert not Run(Path("runs/one")).live.exists()


def test_attach_needs_a_run_in_training(h2q: Command, text: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert h2q("chat") == 2
    assert h2q("train", text, *SMALLEST, "--run", "one", "--steps", 1, "--ui", "none") == 0
    assert h2q("chat", "one", "--attach") == 2
    assert h2q("chat", "--attach") == 2
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_generate_writes_exact_bytes_and_the_same_for_the_same_seed(h2q: Command, text: Path) -> None:
    assert h2q("train", text, *SMALLEST, "--run", "one", "--steps", 10, "--ui", "none") == 0
    command = [sys.executable, main.__file__, "generate", "one", "--prompt", "the", "--bytes", "50", "--seed", "5"]
    out = subprocess.run(command, capture_output=True, check=True).stdout
    assert len(out) == 50
    assert out == written(open_voice("one", print).speaker, b"the", 50, 5, 0.8)


@pytest.mark.parametrize("option", [[], ["--online"]])
def test_eval_writes_nothing_and_reads_everything(
    h2q: Command, text: Path, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    assert h2q("train", text, *SMALLEST, "--run", "one", "--ui", "none") == 0
    before = {path: path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()}
    assert h2q("eval", "one", text, "--json", *option) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["event"], result["bytes"]) == ("end", 4000)
    assert result["bpb_mean"] < 3.0  # it knows this text
    assert {path: path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()} == before


def test_weights_that_overflowed_are_a_sentence(
    train: Command, text: Path, h2q: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(text, "--run", "one", "--steps", 2) == 0
    model = Path("runs/one/checkpoints/step-000000002/model.safetensors")
    tensors = load_file(model)
    save_file({name: x * torch.nan if x.is_floating_point() else x for name, x in tensors.items()}, model)
    relist(model.parent)
    assert h2q("generate", "one", "--prompt", "a", "--bytes", 3) == 2
    assert "one cannot write: what these weights predict is no number" in capsys.readouterr().err
