"""Settings as text: nested frozen dataclasses changed by dotted keys, read from and written to plain values.

    replace(config, {"structure.form": "dense", "recall": "off"}) -> a new config, checked again on construction

Unknown keys are refused with the nearest known name, values of the wrong type with what the key takes, contradictions
with the sentence of the dataclass that owns them. Torch-free, like everything a command checks first.
"""

import difflib
import functools
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from dataclasses import replace as with_fields
from typing import Any, TypeVar, get_type_hints


class ConfigError(ValueError):
    """A setting that cannot be: the message is one sentence for the user."""


def require(condition: bool, sentence: str) -> None:
    """Refuse a contradiction with a sentence that says what to set."""
    if not condition:
        raise ConfigError(sentence)


def nearest(word: str, known: list[str]) -> str:
    """The end of a sentence about an unknown name: "; did you mean X?" or a full stop."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return f"; did you mean {close[0]!r}?" if close else "."


Config = TypeVar("Config")

types_of = functools.cache(get_type_hints)


def parse(text: Any, kind: Any, key: str) -> Any:
    """A setting's text (or TOML value) as the type of its field. Raises ConfigError naming the key."""
    words = {"on": True, "off": False, "true": True, "false": False}
    try:
        if kind is bool:
            return text if isinstance(text, bool) else words[str(text).lower()]
        if kind in (int, float, str):
            return kind(text)
        items = text if isinstance(text, list | tuple) else str(text).split(",") if text not in ("", "none") else []
        inner = kind.__args__[0]
        return tuple(inner(item) for item in items)
    except (KeyError, ValueError, TypeError, AttributeError, OverflowError):
        takes = {bool: "on or off", int: "a whole number", float: "a number"}.get(kind, "values with commas between")
        raise ConfigError(f"{key} cannot be {text!r}: it takes {takes}.") from None


def replace(config: Config, settings: Mapping[str, Any], prefix: str = "") -> Config:
    """A copy of a (nested) config with dotted settings applied; `recall=off` sets `recall.enabled`.

    Raises ConfigError for an unknown key (nearest name offered), a value of the wrong type, or a contradiction.
    """
    kind: type = type(config)
    hints = types_of(kind)
    values: dict[str, Any] = {}
    nested: dict[str, dict[str, Any]] = {}
    for key, value in settings.items():
        head, _, rest = key.partition(".")
        if head not in hints:
            raise ConfigError(
                f"There is no setting {prefix + key!r}{nearest(prefix + head, [prefix + one for one in hints])}"
            )
        if not is_dataclass(hints[head]):
            require(not rest, f"There is no setting {prefix + key!r}: {prefix + head} is a value, not a section.")
            values[head] = parse(value, hints[head], prefix + key)
        else:
            nested.setdefault(head, {})[rest or "enabled"] = value
    for head, part in nested.items():
        values[head] = replace(getattr(config, head), part, f"{prefix}{head}.")
    try:
        return with_fields(config, **values)  # type: ignore[type-var]
    except ConfigError:
        raise
    except ValueError as error:  # of settings that know no section they are in
        said = str(error)
        raise ConfigError(prefix + said if said.partition(" ")[0] in hints else said) from None


def to_dict(config: Any) -> dict[str, Any]:
    """Nested plain values, JSON-ready; `from_dict` gives the same config back."""
    out: dict[str, Any] = {}
    for item in fields(config):
        value = getattr(config, item.name)
        out[item.name] = to_dict(value) if is_dataclass(value) else list(value) if isinstance(value, tuple) else value
    return out


DEEPEST = 8
"""Sections within sections; no config of ours has as many."""


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values as dotted keys. Raises ConfigError for what is no table of settings."""
    require(isinstance(values, Mapping), "Settings are a table of names and values, and there is something else.")
    require(prefix.count(".") < DEEPEST, f"There is no setting {prefix[:80]!r}: sections do not lie so deep.")
    out: dict[str, Any] = {}
    for key, value in values.items():
        out.update(flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value})
    return out
