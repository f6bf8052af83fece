/** The lanes of browsers, which have no other thread; here over Node's connection. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { StepwireError } from "stepwire";
import { ConversationService } from "stepwire/v1";

import { LocalLanes } from "../dist/lanes.js";
import node from "../dist/node/platform.js";
import { client } from "./serve.ts";
import { relay } from "./relay.ts";

const { createConversation, appendMessages, streamMessages } = ConversationService.method;

describe("a lane of the only thread", () => {
  test("is in order, holds what finds no server, and tells of refusals once", async (t) => {
    const far = await relay();
    const link = node.link(far.address, {});
    t.after(() => {
      link.close();
      far.close();
    });
    const lanes = new LocalLanes(link, far.address);
    const conversationId = crypto.randomUUID();
    const append = (text: string, role = "user") => {
      const request = { conversationId, messages: [{ role, text }], requestId: crypto.randomUUID() };
      lanes.post(conversationId, appendMessages, request, ({ reason }) => refused.push(reason));
    };
    const read = async () => {
      const parts = await lanes.after(conversationId, streamMessages, { conversationId });
      return parts.flatMap(({ messages }) => messages.map(({ text }) => text));
    };
    const refused: string[] = [];

    lanes.post(conversationId, createConversation, { conversationId, requestId: crypto.randomUUID() });
    append("a");
    const first = read();
    append("b");
    assert.deepEqual([await first, await read()], [["a"], ["a", "b"]]);

    far.leave();
    append("c");
    append("x", "banana");
    lanes.fail(conversationId, new StepwireError("mine", { reason: "MINE" }));
    for (const trial of [read, () => lanes.flush(conversationId)]) await assert.rejects(trial(), { isTransient: true });
    append("d");
    far.comeBack();
    const alone = await lanes.after(conversationId, streamMessages, { conversationId }, { isAlone: true });
    assert.equal(alone.flatMap(({ messages }) => messages).length, 4);
    await assert.rejects(lanes.flush(conversationId, { signal: AbortSignal.abort() }), { name: "AbortError" });
    const error = await lanes.flush(conversationId).catch((thrown: unknown) => thrown as StepwireError);
    assert.deepEqual([error?.reason, error?.others.map(({ reason }) => reason)], ["INVALID_MESSAGE", ["MINE"]]);
    assert.deepEqual([await read(), refused], [["a", "b", "c", "d"], ["INVALID_MESSAGE"]]);

    append("e");
    const last = read();
    const closed = lanes.close();
    await assert.rejects(last, { name: "AbortError", message: "the client is closed" });
    await closed;
    const { conversation } = await client().services.conversations.getConversation({ conversationId });
    assert.equal(conversation?.messageCount, 5);
  });
});
