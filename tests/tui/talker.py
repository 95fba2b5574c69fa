"""A tiny talker for tests, speaking the real one's lines: `python -m tests.tui.talker [REPLY AS JSON]`.

No model, no torch. It answers `say` with the reply (default: what was said, backwards), in pieces; `slow` in the text
waits for `stop`, `deaf` for nothing at all, `fail` is an error, `news` comes with a notice and `die` ends it after a
word. To `surprise` each byte costs one bit more than the one before.
"""

import json
import sys
import time
from typing import Any


def tell(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


def asked() -> dict[str, Any]:
    """The next request; the end of input ends us."""
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)
    found: dict[str, Any] = json.loads(line)
    return found


def answer(request: dict[str, Any], reply: str | None) -> None:
    if "news" in str(request.get("text", "")):
        tell("notice", text="Compiling.\x1b")
    text = reply if reply is not None else str(request.get("text", ""))[::-1] or "a sample"
    size = max(3, len(text) // 100)
    for i in range(0, len(text), size):
        tell("text", text=text[i : i + size], step=774, age=0.5)
    if "slow" in str(request.get("text", "")):
        while asked()["verb"] != "stop":
            pass
    if "deaf" in str(request.get("text", "")):
        time.sleep(60)
    tell("done", bytes=len(text), seconds=0.01, step=774)


def main(reply: str | None) -> None:
    tell("ready", step=774, age=0.5)
    while True:
        request = asked()
        if request.get("text") == "die":
            tell("text", text="I di", step=774, age=0.5)
            sys.exit(1)
        if request.get("text") == "fail":
            tell("error", text="No weights were published yet.")
        elif request["verb"] == "surprise":
            tell("surprise", bits=list(range(len(request["text"].encode()))), step=774, age=0.5)
        elif request["verb"] in ("say", "sample"):
            answer(request, reply)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]) if len(sys.argv) > 1 else None)
