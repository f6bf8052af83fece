"""The page's own reading of the Connect protocol: messages however they were cut, and what errors say."""

from __future__ import annotations

import base64
from typing import Any

from google.protobuf import duration_pb2
from google.rpc import error_details_pb2

CUT = """
async (texts) => {
  const {Frames} = await import("/js/connect.js");
  const bytes = [];
  for (const text of texts) {
    const body = new TextEncoder().encode(text);
    bytes.push(0, body.length >>> 24, body.length >>> 16 & 255, body.length >>> 8 & 255, body.length & 255, ...body);
  }
  const results = new Set();
  for (let size = 1; size <= bytes.length; size++) {
    const frames = new Frames();
    const found = [];
    for (let at = 0; at < bytes.length; at += size)
      found.push(...frames.push(Uint8Array.from(bytes.slice(at, at + size))));
    results.add(JSON.stringify(found.map((frame) => frame.body)));
  }
  return [...results].map(JSON.parse);
}
"""
DETAILS = "async (details) => (await import('/js/wire.js')).readDetails(details)"


def packed(*messages: Any) -> list[dict[str, str]]:
    return [
        {
            "type": message.DESCRIPTOR.full_name,
            "value": base64.b64encode(message.SerializeToString()).decode().rstrip("="),
        }
        for message in messages
    ]


async def test_messages_are_read_however_they_were_cut(page: Any) -> None:
    texts = ['{"a": 1}', "", '{"text": "é 🦊 \u2028"}', "x" * 300]
    assert await page.evaluate(CUT, texts) == [texts]


async def test_errors_say_what_the_server_packed_into_them(page: Any) -> None:
    info = error_details_pb2.ErrorInfo(reason="R", domain="d", metadata={"k": "v"})
    retry = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=5_000_000_000, nanos=250_000_000))
    request = error_details_pb2.RequestInfo(request_id="id-é")
    violation = error_details_pb2.BadRequest.FieldViolation(field="a.b", description="is wrong", reason="X")
    bad = error_details_pb2.BadRequest(field_violations=[violation, violation])
    said = await page.evaluate(DETAILS, packed(info, retry, request, bad))
    field = {"field": "a.b", "description": "is wrong"}
    assert said == {"reason": "R", "retryAfterS": 5_000_000_000.25, "requestId": "id-é", "violations": [field, field]}


async def test_details_that_cannot_be_read_hide_nothing(page: Any) -> None:
    broken = [{"type": "google.rpc.RetryInfo", "value": "CgX_"}, {"type": "other", "value": "!"}, {}]
    info = error_details_pb2.ErrorInfo(reason="R")
    said = await page.evaluate(DETAILS, [*broken, *packed(info)])
    assert said["reason"] == "R"
