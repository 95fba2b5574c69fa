"""What widgets tell the screen: facts, in the past tense."""

from textual.message import Message


class Said(Message):
    """Somebody wrote something to the model and pressed enter."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class Weighed(Message):
    """Somebody asked what each byte of a text costs."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class ReplyStopped(Message):
    """Somebody pressed escape or ctrl+c at the prompt."""
