import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Code, ConnectError } from "@connectrpc/connect";

import { lost } from "../dist/node/lost.js";

/** What `lost` makes of a call that fails with this, as Connect tells it. */
async function toldOf(code: Code, cause: object, signal = new AbortController().signal): Promise<Code> {
  const failed = new ConnectError("write EPIPE", code, undefined, undefined, cause);
  const call = lost((async () => Promise.reject(failed)) as never);
  return call({ signal } as never).then(
    () => assert.fail("nothing failed"),
    (thrown: ConnectError) => thrown.code,
  );
}

describe("a lost connection", () => {
  test("is unavailable, whichever system call told of it", async () => {
    for (const code of ["EPIPE", "EHOSTUNREACH", "ENETUNREACH"]) {
      const cause = Object.assign(new Error(code), { code, syscall: "write" });
      assert.equal(await toldOf(Code.Internal, cause), Code.Unavailable);
    }
    const reset = Object.assign(new Error("socket hang up"), { code: "ECONNRESET" });
    assert.equal(await toldOf(Code.Aborted, reset), Code.Unavailable);
  });

  test("is not what a program or a server did wrong", async () => {
    assert.equal(await toldOf(Code.Internal, new RangeError("a bug")), Code.Internal);
    assert.equal(await toldOf(Code.Aborted, new Error("a status")), Code.Aborted);
    const cause = Object.assign(new Error("EPIPE"), { code: "EPIPE", syscall: "write" });
    assert.equal(await toldOf(Code.Internal, cause, AbortSignal.abort()), Code.Internal);
  });
});
