"""`generate`: a run writes on from a prompt.

To a pipe go the exact bytes and nothing else; to a terminal, whole characters that cannot move its cursor.
"""

import sys
from collections.abc import Callable, Sequence

from h2q.commands.arguments import Parser, Refusal, at_terminal, need_torch, size, tell

EXAMPLES = (
    'generate calm-river --prompt "The lobster is" --bytes 300',
    "echo once upon a time | python main.py generate calm-river --bytes 1k > story.txt",
)
PROMPT_LIMIT = 1 << 20


def parser() -> Parser:
    """The options of `generate`."""
    found = Parser("generate", "Let a run write on from a prompt.", EXAMPLES)
    found.add_argument("run", metavar="RUN", help="name or folder of a run, or folder of a checkpoint")
    found.add_argument("--prompt", metavar="TEXT", help="what to go on from (default: standard input, if it is piped)")
    found.add_argument("--bytes", type=size, default=200, metavar="N", help="how much to write (200)")
    found.add_argument("--temperature", type=float, default=0.8, metavar="X", help="0 is the likeliest byte (0.8)")
    found.add_argument("--top-p", type=float, default=1.0, metavar="P", help="keep the likeliest bytes up to P (1)")
    found.add_argument("--seed", type=int, default=0, metavar="N", help="the same seed, the same bytes (0)")
    return found


def main(arguments: Sequence[str]) -> int:
    """Write to standard output; the exit code."""
    args = parser().parse_args(arguments)
    if not (0 <= args.temperature <= 100 and 0 < args.top_p <= 1):
        raise Refusal("--temperature lies between 0 and 100, --top-p above 0 up to 1.")
    prompt = prompt_bytes(args.prompt)
    need_torch()
    import torch

    from h2q.generate import generate
    from h2q.kernels.compiling import told
    from h2q.train.voice import open_voice

    write, finish = writer()
    with told(tell):
        voice = open_voice(args.run, tell)
        _, mind = voice.speaker.read(voice.speaker.zeros(), prompt)
        generator = torch.Generator().manual_seed(args.seed)
        try:
            for byte, _ in generate(voice.speaker, mind, args.bytes, generator, args.temperature, args.top_p):
                write(bytes([byte]))
        except ValueError as error:
            raise Refusal(f"{args.run} cannot write: {error}.") from None
    finish()
    return 0


def prompt_bytes(text: str | None) -> bytes:
    """The prompt given, else what is piped in, else nothing. Raises Refusal for a huge one."""
    if text is not None:
        prompt = text.encode("utf-8", "surrogateescape")
    else:
        prompt = b"" if sys.stdin is None or at_terminal(sys.stdin) else sys.stdin.buffer.read(PROMPT_LIMIT + 1)
    if len(prompt) > PROMPT_LIMIT:
        raise Refusal("The prompt is longer than 1 MiB.")
    return prompt


def writer() -> tuple[Callable[[bytes], None], Callable[[], None]]:
    """(write bytes, finish) for standard output as it is."""
    if not at_terminal(sys.stdout):

        def pipe(data: bytes) -> None:
            sys.stdout.buffer.write(data)

        return pipe, sys.stdout.flush
    from tui.sanitise import Decoder

    decoder = Decoder()
    return (
        lambda data: print(decoder.feed(data), end="", flush=True),
        lambda: print(decoder.flush()),
    )
