"""Whatever reaches a terminal passes here first: read bytes, generated text, names, log lines, errors, titles.

A language model writes any byte, and so does a file. Printed as they are, some of them move the cursor, rename the
window or fill the clipboard, and others turn a line of text around. Here they become text a terminal can only show:

    bytes --incremental UTF-8, bad bytes -> U+FFFD--> characters --one translate--> safe text

It promises that no control, bidirectional or invisible tag character survives, that every other character is left
alone, and that bytes cut anywhere give the same text as the whole. It does not promise widths (the widget's business),
and it knows no markup: hand its result to `Text`, `Content` or `markup=False`, never to an f-string of markup.
"""

import codecs

REPLACEMENT = "\ufffd"

_PICTURED = [c for c in range(0x20) if c not in (0x09, 0x0A)]
_REPLACED = [
    *range(0x80, 0xA0),  # C1
    *(0x061C, 0x200B, 0x200E, 0x200F, 0x2028, 0x2029, 0xFEFF),  # direction marks, no width, odd line ends
    *(*range(0x202A, 0x202F), *range(0x2066, 0x206A)),  # bidirectional embeddings, overrides, isolates
    *range(0xE0000, 0xE0080),  # tags
    *range(0xD800, 0xE000),  # lone surrogates, which no stream can encode
]
_TABLE: dict[int, str] = {
    **{c: chr(0x2400 + c) for c in _PICTURED},
    0x7F: "\u2421",
    **dict.fromkeys(_REPLACED, REPLACEMENT),
}
_ONE_LINE = {**_TABLE, 0x09: " ", 0x0A: "\u240a"}

FORBIDDEN = frozenset(chr(c) for c in _TABLE)
"""The characters that `clean` never lets out, for tests."""


def clean(text: str) -> str:
    """The same text with everything a terminal might obey made visible; newline and tab stay."""
    return text if text.isascii() and text.isprintable() else text.translate(_TABLE)


def clean_line(text: str) -> str:
    """`clean` for what stays on one line (names, titles, log lines): a newline becomes its picture, a tab a space."""
    return text if text.isascii() and text.isprintable() else text.translate(_ONE_LINE)


class Decoder:
    """Bytes in pieces of any size to safe text in whole characters.

    The pieces `feed` returns, and what `flush` adds at the end, join to the text of all the bytes at once.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def feed(self, data: bytes) -> str:
        """The safe text that is certain so far; an unfinished character waits for its other bytes."""
        return clean(self._decoder.decode(data))

    def flush(self) -> str:
        """What an unfinished character is worth at the end (U+FFFD or nothing); ready for a new text."""
        rest = clean(self._decoder.decode(b"", final=True))
        self._decoder.reset()
        return rest
