"""The command line: finds the verb, imports its command, and nothing else.

python main.py                          train on the default stream
python main.py train notes/ --run mine  learn from a folder
python main.py chat                     talk to the newest run
"""

import os
import sys

if sys.version_info < (3, 11):  # noqa: UP036 - whoever starts this with an older Python gets a sentence
    print("H2Q needs Python 3.11 or newer; this is " + sys.version.split()[0] + ".", file=sys.stderr)
    sys.exit(2)

VERBS = {
    "train": "read, score, learn, show (what happens without a verb)",
    "chat": "talk to a run, live or saved",
    "generate": "let a run write on from a prompt",
    "watch": "look at a run, live or over",
    "eval": "bits per byte of a run on a source",
    "compare": "cores, recall alone and compressors on the same bytes",
    "probe": "what a core can do: parity, recall, copy; optimizers raced",
    "export": "take the model away: Hugging Face folder or safetensors",
    "plot": "curves, clocks, memories and the architecture as SVG and PNG",
    "bench": "time this machine",
    "inspect": "what a run, source or checkpoint holds",
}
HIDDEN = ("engine", "talker", "reference")
HELP = """examples:
  python main.py                               learn from the default stream, live
  python main.py train notes/ book.txt.gz      learn from a folder and a file
  tail -f log | python main.py train - --detach
  python main.py chat                          talk to the newest run
  python main.py train --run calm-river --resume

verbs (python main.py VERB --help):
"""


def overview() -> str:
    """The general help: examples first, then one line a verb."""
    return HELP + "\n".join(f"  {verb:9} {text}" for verb, text in VERBS.items())


def main(arguments: list[str]) -> int:
    """Run the verb named first; without one, train. Returns the exit code: 0, 1, 2, 130 or 143."""
    if arguments[:1] in (["--help"], ["-h"], ["help"]):
        print(overview())
        return 0
    named = bool(arguments) and not arguments[0].startswith("-")
    verb = arguments[0] if named else "train"
    # Idle torch threads must sleep, not spin: with one of two cores taken, spinning cost two thirds of the speed.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from h2q.commands.arguments import guarded, load, uncollected

    def command() -> int:
        with uncollected():
            module = load(verb, [*VERBS], HIDDEN)
        return int(module.main(arguments[1:] if named else arguments))

    return guarded(command)


def console() -> None:
    """The installed program."""
    from h2q.commands import last_words

    last_words.install()
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    console()
