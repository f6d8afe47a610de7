"""What an HTTP answer means for the events that were sent. Pure.

==================================  ========================================================================
2xx                                 delivered; a body with results may say otherwise for single events
429, 503                            throttled: retry after `Retry-After` (seconds or date), counts as no attempt
408, 409, 425, other 5xx            retry
400, 422, 413 on several events     halve: the request is to blame, or one event in it
400, 422, 413 on one event          rejected; but from a server that never took anything 400 and 422 mean stop
3xx, 401, 403, 404, 410, other 4xx  stop: credentials, permission, address, method. Nobody's event is to blame
==================================  ========================================================================

Results: a 2xx answer in JSON like ``{"results": [{"id": "...", "status": 422, "reason": "...", "after": 5}]}`` judges
events one by one, by the meaning of HTTP's numbers; 4xx (but 408, 409, 425, 429) is a refusal of that event. Events
it does not name share the answer's status.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime

import msgspec

from gateway.clock import NS_PER_S
from gateway.targets.http_connection import Answer
from gateway.targets.target import DELIVERED, Outcome, Outgoing, Verdict

THROTTLED = frozenset((429, 503))
AGAIN = frozenset((408, 409, 425))
TO_BLAME = frozenset((400, 413, 422))
REASON_CHARS_MAX = 300  # of the server's own words
_WORDS = {
    301: "moved",
    302: "moved",
    307: "moved",
    308: "moved",
    400: "bad request",
    401: "credentials are not accepted",
    403: "forbidden",
    404: "no such place",
    405: "the server takes no POST there",
    408: "request timeout",
    409: "conflict",
    410: "gone",
    413: "too large",
    415: "media type is not accepted",
    422: "not accepted",
    429: "too many requests",
    500: "server error",
    502: "bad gateway",
    503: "unavailable",
    504: "gateway timeout",
}


class Result(msgspec.Struct, gc=False):
    """A server's judgement of one event."""

    id: str
    status: int
    reason: str = ""
    after: float | None = None  # seconds


class Results(msgspec.Struct):
    """The body of an answer that judges events one by one."""

    results: list[Result]


_decode_results = msgspec.json.Decoder(Results).decode


def outcome_of(answer: Answer, wall_ns: int) -> Outcome | None:
    """Return what an answer means for every event of its request; None: find out which one is to blame."""
    status = answer.status
    if 200 <= status < 300:
        return DELIVERED
    if status in TO_BLAME:
        return None
    reason = reason_of(answer)
    if status in THROTTLED:
        return Outcome(Verdict.RETRY, reason, retry_after_s(answer.headers, wall_ns), throttled=True)
    if status in AGAIN or status >= 500:
        return Outcome(Verdict.RETRY, reason, retry_after_s(answer.headers, wall_ns))
    return Outcome(Verdict.STOP, reason)


def results_of(answer: Answer, batch: Sequence[Outgoing]) -> list[Outcome] | None:
    """Return the outcomes that a 2xx answer's body gives; None when it judges nothing one by one."""
    if answer.body.lstrip()[:1] != b"{":
        return None
    try:
        results = {result.id: result for result in _decode_results(answer.body).results}
    except msgspec.DecodeError:  # some other JSON: all or nothing
        return None
    return [_of_result(results[event.id]) if event.id in results else DELIVERED for event in batch]


def _of_result(result: Result) -> Outcome:
    status = result.status
    if 200 <= status < 300:
        return DELIVERED
    reason = f"{status} {result.reason[:REASON_CHARS_MAX] or _WORDS.get(status, '')}".strip()
    if status in THROTTLED:
        return Outcome(Verdict.RETRY, reason, result.after, throttled=True)
    if status in AGAIN or status >= 500:
        return Outcome(Verdict.RETRY, reason, result.after)
    return Outcome(Verdict.REJECTED, reason)


def reason_of(answer: Answer) -> str:
    """Say in a line what the server said."""
    words = _WORDS.get(answer.status, "")
    if 300 <= answer.status < 400 and "location" in answer.headers:
        words = f"moved to {answer.headers['location'][:REASON_CHARS_MAX]}"
    said = " ".join(answer.body[:REASON_CHARS_MAX].decode(errors="replace").split())
    shown = said if said.isprintable() and not said.startswith("<") else ""
    return ": ".join(part for part in (f"{answer.status} {words}".strip(), shown) if part)


def retry_after_s(headers: Mapping[str, str], wall_ns: int) -> float | None:
    """Read Retry-After: seconds, or a time (RFC 9110, 10.2.3) by the server's own clock if it says what that shows."""
    value = headers.get("retry-after")
    if not value:
        return None
    if value.strip().isdecimal():
        return float(value)
    when, now = _http_time(value), _http_time(headers.get("date", ""))
    if when is None:
        return None
    return max(0.0, when - (wall_ns / NS_PER_S if now is None else now))


def _http_time(text: str) -> float | None:
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
