/** Empty replies, of which a conversation keeps nothing but an id that stands for the message before. */

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { StepwireError } from "stepwire";

import type { Core } from "../dist/core.js";
import { GuideConversation } from "../dist/guide/conversation.js";
import { LocalLanes } from "../dist/lanes.js";
import node from "../dist/node/platform.js";
import { address, client } from "./serve.ts";

const { Conversation } = client();

/** A conversation that the server has. */
async function stored(): Promise<string> {
  const { id } = await client().createConversation({ messages: ["Hello", "Are you there?"] });
  return id;
}

/** The text of each message with that of its parent. */
async function parents(id: string): Promise<Record<string, string>> {
  const { messages } = (await new Conversation(id).toGoConversationAsync()) as {
    messages: { id: string; text: string; parentId?: string }[];
  };
  const texts = new Map(messages.map((each) => [each.id, each.text]));
  return Object.fromEntries(messages.map(({ text, parentId = "" }) => [text, texts.get(parentId) ?? ""]));
}

function unanswered(): never {
  throw new StepwireError("no answer", { code: "UNAVAILABLE" });
}

const BEFORE = { Hello: "", "Are you there?": "Hello" };

describe("an empty reply as the first word in a conversation that the server has", () => {
  test("stands for the last message there", async () => {
    const conv = new Conversation(await stored());
    const parentID = conv.AddMessage("assistant", "");
    for (const text of ["One", "Two"]) conv.AddMessage("user", text, { parentID });
    conv.AddMessage("user", "Three");
    await conv.flush();
    assert.deepEqual(await parents(conv.id), { ...BEFORE, One: "Are you there?", Two: "Are you there?", Three: "Two" });
  });

  test("stands for nothing where there is no message yet", async () => {
    const { id } = await client().createConversation();
    const conv = new Conversation(id);
    conv.AddMessage("user", "One", { parentID: conv.AddMessage("assistant", "") });
    await conv.flush();
    assert.deepEqual(await parents(id), { One: "" });
  });

  for (const [name, core] of Object.entries({
    "nobody can wait for it": { canBlock: false },
    "the server does not say it": { canBlock: true, blocking: { collect: unanswered } },
  })) {
    test(`is not misplaced where ${name}`, async (t) => {
      const lanes = new LocalLanes(node.link(address, {}), address);
      t.after(() => lanes.close());
      const conv = new GuideConversation({ ...core, lanes } as unknown as Core, await stored());
      const parentID = conv.addMessage("assistant", "");
      conv.addMessage("user", "One", { parentID }); // behind the last message there, as nothing came between
      conv.addMessage("user", "Two", { parentID });
      await assert.rejects(conv.flush(), { reason: "INVALID_MESSAGE", message: /`parentID`.*not known/ });
      await conv.flush();
      assert.deepEqual(await parents(conv.id), { ...BEFORE, One: "Are you there?" });
    });
  }
});
