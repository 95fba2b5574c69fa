"""Text <-> ids: the ids of a text are its UTF-8 bytes, 0 to 255, after a 256 that starts it.

Nothing in a text is special: a prompt that spells the start symbol is read as the bytes it is made of. Bytes that are
not UTF-8 (half a character at the end of a sample) decode to U+FFFD; for exact bytes use the ids.
"""

from __future__ import annotations

from typing import Any

from transformers import AddedToken, PreTrainedTokenizer

START, START_ID = "<|start|>", 256


class H2QTokenizer(PreTrainedTokenizer):  # type: ignore[misc]  # transformers has no types where it is not installed
    """Bytes as tokens: token i is the character chr(i)."""

    model_input_names = ("input_ids", "attention_mask")

    def __init__(self, **kwargs: Any) -> None:
        start = AddedToken(START, special=True, normalized=False)
        self._added_tokens_decoder = {START_ID: start}
        super().__init__(
            **{"bos_token": start, "pad_token": start, "padding_side": "left", "split_special_tokens": True, **kwargs}
        )

    @property
    def vocab_size(self) -> int:
        """Ids that are bytes."""
        return 256

    def get_vocab(self) -> dict[str, int]:
        """Every token and its id."""
        return {chr(i): i for i in range(256)} | {START: START_ID}

    def build_inputs_with_special_tokens(self, first: list[int], second: list[int] | None = None) -> list[int]:
        """256, then the text; a second text follows the first directly."""
        return [START_ID, *first, *(second or [])]

    def get_special_tokens_mask(
        self, first: list[int], second: list[int] | None = None, already_has_special_tokens: bool = False
    ) -> list[int]:
        """1 where an id is no byte."""
        ids = first if already_has_special_tokens else self.build_inputs_with_special_tokens(first, second)
        return [int(i == START_ID) for i in ids]

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        """Tokens to text; what is not UTF-8 becomes U+FFFD."""
        raw = b"".join(token.encode() if token == START else bytes([ord(token)]) for token in tokens)
        return raw.decode("utf-8", "replace")

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str, ...]:
        """There is no vocabulary to save."""
        return ()

    def _tokenize(self, text: str, **unused: Any) -> list[str]:
        return [chr(byte) for byte in text.encode("utf-8", "surrogatepass")]

    def _convert_token_to_id(self, token: str) -> int:
        return START_ID if token == START else ord(token)

    def _convert_id_to_token(self, index: int) -> str:
        return START if index == START_ID else chr(index)
