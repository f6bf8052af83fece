import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { client } from "./serve.ts";

describe("a stored conversation", () => {
  test("keeps what is said, with metadata", async () => {
    const conversation = await client().createConversation({
      title: "cats",
      metadata: { team: "blue" },
      messages: ["Hi"],
    });
    const [id] = await conversation.append([{ role: "assistant", text: "Yes?", metadata: { a: 1 } }, "say well"]);
    await conversation.updateMetadata(id ?? "", { b: 2 }, { merge: true });
    const messages = await Array.fromAsync(conversation.messages());
    assert.deepEqual(
      messages.map(({ role, text }) => [role, text]),
      [
        ["user", "Hi"],
        ["assistant", "Yes?"],
        ["user", "say well"],
      ],
    );
    assert.deepEqual(messages[1]?.metadata, { a: 1, b: 2 });
    const info = await conversation.info();
    assert.deepEqual([info.title, info.metadata, info.messageCount], ["cats", { team: "blue" }, 3]);
    assert.equal(await conversation.text(id), "[assistant]: Yes?");
  });

  test("is gone on with by a chat, whose reply it keeps", async () => {
    const conversation = await client().createConversation();
    assert.equal(await conversation.chat("say one"), "one ");
    const events = await Array.fromAsync(conversation.streamChat("say two"));
    assert.equal(events.map(({ text }) => text).join(""), "two ");
    assert.equal(await conversation.text(), "[user]: say one\n[assistant]: one \n[user]: say two\n[assistant]: two \n");
  });

  test("is forked, listed, searched and deleted", async () => {
    const word = `w${crypto.randomUUID().replaceAll("-", "")}`;
    const conversation = await client().createConversation({ metadata: { word }, messages: [`find ${word}`, "more"] });
    const fork = await conversation.fork({ title: "again" });
    const listed = await Array.fromAsync(client().listConversations({ labels: { word }, pageSize: 1 }));
    assert.deepEqual(new Set(listed.map(({ id }) => id)), new Set([conversation.id, fork.id]));
    const hits = await client().searchMessages(word);
    assert.deepEqual(new Set(hits.map((hit) => hit.conversationId)), new Set([conversation.id, fork.id]));
    await fork.delete();
    await assert.rejects(fork.info(), { reason: "CONVERSATION_NOT_FOUND" });
  });

  test("refuses all of an append, or none", async () => {
    const conversation = await client().createConversation();
    await assert.rejects(conversation.append(["fine", { role: "banana", text: "x" }]), { reason: "INVALID_MESSAGE" });
    assert.equal((await conversation.info()).messageCount, 0);
  });
});
