"""What widgets tell the screen: facts, in the past tense."""

from textual.message import Message


class Said(Message):
    """Somebody wrote a line to the model and pressed enter."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class ReplyStopped(Message):
    """Somebody pressed escape or ctrl+c at the prompt."""
