"""`export`: take the model away, as a folder for transformers or as weights with the code that reads them."""

from collections.abc import Sequence
from pathlib import Path

from h2q.commands.arguments import Parser, Refusal, need_torch, tell

EXAMPLES = (
    "export calm-river exports/river                          for transformers (trust_remote_code)",
    "export calm-river exports/bare --format safetensors      weights, config and the code that reads them",
    "export calm-river exports/all --format safetensors --recall-mb 200",
)
FORMATS = ("hf", "safetensors")


def parser() -> Parser:
    """The options of `export`."""
    found = Parser("export", "Write the newest save of a run as a folder that needs nothing of this program.", EXAMPLES)
    found.add_argument("run", metavar="RUN", help="name or folder of a run, or folder of a checkpoint")
    found.add_argument("folder", metavar="DIR", help="new or empty folder")
    found.add_argument("--format", choices=FORMATS, default="hf", help="hf (default) or safetensors")
    found.add_argument("--recall-mb", type=int, default=0, metavar="N", help="take the recall memory along if it fits")
    return found


def main(arguments: Sequence[str]) -> int:
    """Export and say where; the exit code."""
    args = parser().parse_args(arguments)
    if args.recall_mb < 0:
        raise Refusal("--recall-mb is a size in MiB, not a negative number.")
    need_torch()
    from checkpoints.export import export
    from h2q.train.voice import saved_of

    saved = saved_of(args.run, tell)
    folder = export(saved, Path(args.folder), args.format, recall_mb=args.recall_mb)
    tell(f"Step {saved.step} is in {folder}.")
    return 0
