import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { StepwireError } from "stepwire";

import { asked, client, closed, prompt } from "./serve.ts";

describe("chat", () => {
  test("returns the text of the reply", async () => {
    assert.equal(await client().chat("hi"), "Hello");
  });

  test("tells how the reply ended", async () => {
    const { text, finished } = await client().reply("hi", { options: { temperature: 0.5, maxTokens: 5 } });
    assert.equal(text, "Hello");
    assert.equal(finished.reason, "stop");
    assert.equal(finished.model, "fake-1");
    assert.deepEqual([finished.usage.inputTokens, finished.usage.outputTokens], [3, 2]);
    assert.equal(finished.usage.costUsd, undefined);
  });

  test("streams one started, the pieces, and one finished", async () => {
    const events = await Array.fromAsync(client().streamChat("say one two three"));
    assert.equal(events[0]?.type, "started");
    assert.equal(events.at(-1)?.type, "finished");
    assert.equal(events.map((event) => event.text).join(""), "one two three ");
  });

  test("takes messages as texts and as objects", async () => {
    const text = await client().chat("", { messages: ["hi", { role: "assistant", text: "Yes?" }, "say well"] });
    assert.equal(text, "well ");
  });

  test("ends the call when the loop is left", async () => {
    const stalled = prompt("stall");
    for await (const event of client().streamChat(stalled)) if (event.type === "text") break;
    await closed(stalled);
  });

  test("ends the call when the signal aborts, with an AbortError", async () => {
    const stalled = prompt("stall");
    const ending = new AbortController();
    const failing = (async () => {
      for await (const event of client().streamChat(stalled, { signal: ending.signal })) {
        if (event.type === "text") ending.abort();
      }
    })();
    await assert.rejects(failing, { name: "AbortError", code: "CANCELLED" });
    await closed(stalled);
  });

  test("ends a call that is waited for, too", async () => {
    const silent = prompt("silent");
    const ending = new AbortController();
    const failing = assert.rejects(client().chat(silent, { signal: ending.signal }), { name: "AbortError" });
    await asked(silent);
    ending.abort();
    await failing;
    await closed(silent);
  });

  test("makes no call with a signal that has aborted", async () => {
    await assert.rejects(client().chat("hi", { signal: AbortSignal.abort() }), { name: "AbortError" });
  });

  test("keeps its time", async () => {
    const stalled = prompt("stall");
    await assert.rejects(client().chat(stalled, { timeoutMs: 300 }), {
      name: "StepwireError",
      code: "DEADLINE_EXCEEDED",
    });
    await closed(stalled);
  });

  test("ends all calls when the client is closed, and makes no more", async () => {
    const stalled = prompt("stall");
    const closing = client();
    const stream = closing.streamChat(stalled);
    await stream.next();
    closing.close();
    await assert.rejects(async () => {
      for await (const _ of stream);
    }, StepwireError);
    await closed(stalled);
    await assert.rejects(closing.chat("hi"), { message: "the client is closed" });
  });

  test("lists models", async () => {
    const models = await client().models();
    assert.deepEqual(
      models.map((model) => model.name),
      ["fake"],
    );
  });
});
