import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, test } from "node:test";
import { connect, StepwireError } from "stepwire";

import { address, client } from "./serve.ts";
import { relay } from "./relay.ts";

async function count(conversationId: string): Promise<number | undefined> {
  const { conversation } = await client().services.conversations.getConversation({ conversationId });
  return conversation?.messageCount;
}

describe("a client that is closed", () => {
  test("sends what was queued, and takes nothing more", async () => {
    const closing = connect(address);
    const several = [new closing.Conversation(), new closing.Conversation()];
    for (const conv of several) for (const text of ["a", "b", "c"]) conv.AddMessage("user", text);
    const [one] = several;
    const open = [one!.flush(), one!.GetMessagesAsync(), closing.chat("silent")];
    const closed = closing.close();
    assert.throws(() => one!.AddMessage("user", "late"), /the client is closed/);
    for (const each of open) await assert.rejects(each, { name: "AbortError" });
    await closed;
    await closing.close();
    assert.deepEqual(await Promise.all(several.map(({ id }) => count(id))), [3, 3]);
  });

  test("tells what was refused, of all conversations", async () => {
    const closing = connect(address);
    const several = [new closing.Conversation(), new closing.Conversation()];
    for (const conv of several) conv.AddMessage("banana", "x");
    const error = await closing.close().catch((thrown: unknown) => thrown);
    assert.ok(error instanceof StepwireError);
    assert.deepEqual(
      [error, ...error.others].map(({ reason }) => reason),
      ["INVALID_MESSAGE", "INVALID_MESSAGE"],
    );
  });

  test("tells what is lost because the server is away", async (t) => {
    const far = await relay();
    t.after(() => far.close());
    far.leave();
    const closing = connect(far.address);
    const conv = new closing.Conversation();
    conv.AddMessage("user", "x");
    await assert.rejects(conv.flush(), { isTransient: true });
    const lost = /^the client was closed before all that was added to a conversation was stored: no answer from /;
    await assert.rejects(closing.close(), { code: "UNAVAILABLE", message: lost });
  });

  test("does so, though nobody waits for it and the program has nothing else to do", async () => {
    for (const end of ["client.close();", "{ using it = client; }", "{ await using it = client; }"]) {
      const script = `import { connect } from "stepwire";
        const client = connect("${address}");
        const conv = new client.Conversation();
        for (const text of ["a", "b"]) conv.AddMessage("user", text);
        console.log(conv.id);
        ${end}`;
      const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
        encoding: "utf8",
        timeout: 120_000,
      });
      assert.equal(await count(stdout.trim()), 2, end);
    }
  });

  test("keeps no program that does not care whether there is a server", async () => {
    const script = `import { connect } from "stepwire";
      const client = connect("127.0.0.1:1");
      new client.Conversation().AddMessage("user", "x");
      client.close();`;
    const { status, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
      encoding: "utf8",
      timeout: 120_000,
    });
    assert.deepEqual([status, stderr], [0, ""]);
  });
});
