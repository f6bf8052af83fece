import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { connect, StepwireError } from "stepwire";

import { address, client, closed, prompt } from "./serve.ts";

describe("what blocks", () => {
  test("keeps this thread from everything else until it is answered", () => {
    let turned = false;
    setImmediate(() => {
      turned = true;
    });
    client().embeddings.generateEmbedding("x");
    assert.equal(turned, false);
  });

  test("sends what is queued before it, though this thread does not turn", () => {
    const conv = new (client().Conversation)();
    for (let index = 0; index < 50; index++) conv.AddMessage("user", String(index));
    assert.deepEqual(
      conv.GetMessages().map((message) => message.Content["Text"]),
      Array.from({ length: 50 }, (_, index) => String(index)),
    );
  });

  test("keeps the order of what is queued on both sides of an await", async () => {
    const conv = new (client().Conversation)();
    conv.AddMessage("user", "0");
    const flushing = conv.flush();
    conv.AddMessage("user", "1");
    assert.equal(conv.GetMessages().length, 2);
    conv.AddMessage("user", "2");
    await flushing;
    await conv.flush();
    assert.equal((await conv.getMessagesAsync()).length, 3);
  });

  test("fails with the same errors", () => {
    assert.throws(
      () => connect("127.0.0.1:1").embeddings.getModel(),
      (error) => {
        assert.ok(error instanceof StepwireError);
        return (
          error.code === "UNAVAILABLE" && error.isTransient && error.message.startsWith("no answer from 127.0.0.1:1")
        );
      },
    );
  });

  test("is refused on a client that is closed", async () => {
    const closing = client();
    const conv = new closing.Conversation();
    conv.AddMessage("user", "Hi");
    const flushing = assert.rejects(conv.flush(), { name: "AbortError" });
    closing.close();
    await flushing;
    assert.throws(() => closing.embeddings.getModel(), { message: "the client is closed" });
  });

  test("ends its call when its time is over", async () => {
    const stalled = prompt("stall");
    const { ChatStepFactory } = connect(address, { timeoutMs: 300 });
    assert.throws(
      () => new ChatStepFactory().newStep().startBlocking({ messages: [{ role: "user", content: stalled }] }),
      {
        code: "DEADLINE_EXCEEDED",
      },
    );
    await closed(stalled);
  });
});
