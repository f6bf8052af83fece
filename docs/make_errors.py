"""Writes `errors.md` from the enum that documents each reason and the table that gives it a status code."""

from __future__ import annotations

import re
from pathlib import Path

from stepwired.errors import ABORTS_A_RUN, Failure, Reason
from stepwired.rpc.status import TABLE, Detail
from stepwired.web import status as http

ROOT = Path(__file__).parent.parent
PROTO = ROOT / "proto/stepwire/v1/error_reason.proto"
PAGE = ROOT / "docs/errors.md"

HEAD = """\
# Errors

<!-- Written by `make gen` from error_reason.proto, rpc/status.py and web/status.py. -->

Every failed call carries a `google.rpc.Status` in `grpc-status-details-bin`, which clients of every language can
read:

- one `google.rpc.ErrorInfo` with `domain` `stepwire.dev`, a `reason` from the table below, and facts in `metadata`;
- one `google.rpc.RequestInfo` with the id that the server's log has; it is also the trailer `x-request-id`. A
  caller may send its own in the metadata `x-request-id`, at most 36 printable ASCII characters;
- a `google.rpc.RetryInfo` exactly where trying again may help, with the time to wait. On `UNAVAILABLE` and
  `RESOURCE_EXHAUSTED` the trailer `grpc-retry-pushback-ms` says the same to clients with a retry policy; -1 means
  that a retry cannot help;
- and what the last column names. A `BadRequest` lists every field to change, with its path, at once.

A stream that fails after its first message has `partial` in the metadata of its `ErrorInfo`, and is not to be
retried blindly. Messages are for people; they never hold keys, prompts or what a provider said. Three of them
always contain the words that programs look for: `rate limit`, `context length`, `invalid api key`.

gRPC itself answers a request above 16 MiB (`RESOURCE_EXHAUSTED`), an unknown method (`UNIMPLEMENTED`), a cancelled
call and a passed deadline, without these details.

## Over HTTP

Calls in OpenAI's form get a status and a body with `error`, whose fields are `message`, `type`, `code`, `param` (the
path of the first field to change, or null) and `request_id`; see [http.md](http.md). The column "HTTP" has status,
type and code. `Retry-After` is in whole seconds, and there exactly where trying again may help. What HTTP has a word
for itself has a code of its own, and no reason: `not_found` (404), `method_not_allowed` (405), `request_timeout`
(408), `request_too_large` (413), `unsupported_media_type` (415), `host_not_allowed` (421), `origin_not_allowed`
(403), `request_header_fields_too_large` (431), `malformed_http` (400), `too_many_connections` (503),
`http_version_not_supported` (505).

## Each reason

| reason | code | HTTP | retry | meaning | detail |
|---|---|---|---|---|---|
"""

DETAILS = {
    Detail.NONE: "",
    Detail.FIELDS: "`BadRequest`",
    Detail.SUBJECT: "`ResourceInfo`",
    Detail.QUOTA: "`QuotaFailure`",
    Detail.PRECONDITION: "`PreconditionFailure`",
}


def page() -> str:
    """The whole page."""
    comments = dict(_comments(PROTO.read_text(encoding="utf-8")))
    return HEAD + "".join(_row(reason, comments[reason.value]) for reason in Reason)


def _comments(proto: str) -> list[tuple[str, str]]:
    """Each value's name, and its comment as one line."""
    found = re.findall(r"((?:  // ?.*\n|  //\n)+)  ERROR_REASON_(\w+) = \d+;", proto)
    return [(name, " ".join(re.sub(r"^ *// ?", "", comment, flags=re.MULTILINE).split())) for comment, name in found]


def _row(reason: Reason, meaning: str) -> str:
    code, detail = TABLE[reason]
    delay_s = Failure(reason, "").retry_after_s
    retry = "" if delay_s is None else f"after {delay_s:g} s, or as it says"
    ends = " Ends a run." if reason in ABORTS_A_RUN else ""
    number, kind = http.TABLE[reason]
    over_http = f"{number} `{kind}` `{http.code_of(reason)}`"
    return f"| `{reason.value}` | `{code.name}` | {over_http} | {retry} | {meaning}{ends} | {DETAILS[detail]} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
