"""Reading a server's answer: what it says about the version, the range and the trouble.

Promises: pure functions of one response or one error; every sentence names the address without its secrets, and never
quotes the library's own message, which repeats the address in full. Does not retry: `remote` decides that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from stream.source import SourceError

if TYPE_CHECKING:
    import requests

TRANSIENT = (408, 429, 500, 502, 503, 504)


class Broken(Exception):
    """A try that failed in a way another try may mend; `str(error)` is a sentence."""


class Answer(NamedTuple):
    """What a response says about the whole file and where this part of it begins."""

    etag: str | None = None
    modified: str | None = None
    total: int | None = None
    first: int | None = None

    @classmethod
    def of(cls, response: requests.Response) -> Answer:
        """Read the headers of a 200, 206 or 416."""
        headers = response.headers
        found = re.match(r"bytes (?:([0-9]{1,18})-[0-9]+|\*)/([0-9]{1,18}|\*)$", headers.get("Content-Range", ""))
        first = int(found[1]) if found and found[1] else None
        total = int(found[2]) if found and found[2] != "*" else None
        length = headers.get("Content-Length", "")
        # A length counts bytes on the wire; only without an encoding are they the bytes we store.
        if response.status_code == 200 and re.fullmatch("[0-9]{1,18}", length) and not encoded(response):
            total = int(length)
        return cls(headers.get("ETag"), headers.get("Last-Modified"), total, first)

    @classmethod
    def noted(cls, about: Mapping[str, Any]) -> Answer:
        """What was written down of an answer; whatever else stands there is not known."""
        etag, modified, total = about.get("etag"), about.get("modified"), about.get("total")
        return cls(
            etag if isinstance(etag, str) else None,
            modified if isinstance(modified, str) else None,
            total if type(total) is int and 0 <= total < 10**18 else None,
        )

    @property
    def validator(self) -> str | None:
        """What names this version strongly enough for If-Range."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified

    def same(self, other: Answer) -> bool:
        """Whether both speak of one version of the file, as far as they say."""
        pairs = zip(self[:3], other[:3], strict=True)
        return all(mine is None or theirs is None or mine == theirs for mine, theirs in pairs)


def asked(have: int, answer: Answer, about: Mapping[str, Any]) -> dict[str, str]:
    """Request headers: go on after `have` bytes of `answer`'s version, or ask whether `about`'s copy is current."""
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if answer.validator:
            headers["If-Range"] = answer.validator
        return headers
    if about.get("etag"):
        headers["If-None-Match"] = str(about["etag"])
    elif about.get("modified"):
        headers["If-Modified-Since"] = str(about["modified"])
    return headers


def judged(response: requests.Response, label: str) -> None:
    """Raise Broken for an answer that may be better next time, SourceError for one that will not."""
    status = response.status_code
    if status in (200, 206):
        if status == 206 and encoded(response):
            raise SourceError(f"{label} compresses parts of its answer, which cannot be put together")
        return
    sentence = f"{label} answered {status} {response.reason or ''}".rstrip()
    raise Broken(sentence) if status in TRANSIENT else SourceError(sentence)


def explained(error: requests.RequestException, label: str) -> str:
    """One sentence for a connection that could not be made or kept."""
    import requests
    from urllib3.exceptions import NameResolutionError

    reason = getattr(error.args[0], "reason", None) if error.args else None
    if isinstance(reason, NameResolutionError):
        return f"{label} cannot be reached: its host name is unknown"
    if isinstance(error, requests.exceptions.SSLError):
        return f"{label} cannot be reached: its certificate is not accepted"
    if isinstance(error, requests.Timeout):
        return f"{label} did not answer in time"
    if isinstance(error, requests.TooManyRedirects):
        return f"{label} redirects without end"
    if isinstance(error, requests.exceptions.InvalidSchema):
        return f"{label} leads to an address that is neither http nor https"
    if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema)):
        return f"{label} is not a usable address"
    if isinstance(error, requests.ConnectionError) and reason is not None:
        return f"{label} cannot be reached: no connection"
    return f"{label} broke off in the middle of its answer"


def encoded(response: requests.Response) -> bool:
    """Whether the server compressed its answer although it was asked not to."""
    return response.headers.get("Content-Encoding", "identity").lower() not in ("", "identity")
