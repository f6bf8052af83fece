/** The blocks on chat steps. */

import assert from "node:assert/strict";

import { type Block, fieldsOf, isOf } from "./blocks.ts";
import { type Any, asItStands, type Case, twice } from "./common.ts";
import { SCRIPTED, type World } from "./world.ts";

const HELLO = { messages: [{ role: "user", content: "Say hello." }] };

const basic: Case = async (block, world) => {
  await asItStands(block, world);
  await world.until(() => world.printed.length > 0);
  const [[said, reply]] = world.printed as Any;
  assert.equal(said, "Response:");
  assert.ok(reply[0].length > 0);
  return "ran on the local model";
};

const pieces: Case = async (block, world) => {
  await asItStands(block, world, { step: world.chatStep() });
  await world.until(() => world.hasPrinted("Chat complete"));
  const got = world.printed.filter(([said]) => said === "Got chunk:");
  assert.ok(got.length > 1 && got.length === world.printed.length - 1);
  return `ran on the local model: ${got.length} chunks`;
};

const withConversation: Case = async (block, world) => {
  await assert.rejects(asItStands(block, world, { step: world.chatStep() }), { reason: "MODEL_FEATURE_UNSUPPORTED" });
  const { response, conv } = (await asItStands(block, world, { step: world.chatStep(SCRIPTED) })) as Any;
  assert.deepEqual([response, conv.GetMessages().length], [["Hello"], 6]);
  return "ran on a scripted model that looks at pictures; the local one cannot, and says so";
};

const legacy: Case = async (block, world) => {
  const { response } = (await asItStands(block, world, { step: world.chatStep() })) as Any;
  assert.ok(response[0].length > 0);
  return "ran on the local model";
};

const options: Case = async (block, world) => {
  const { step } = (await asItStands(block, world, { factory: new world.client.ChatStepFactory() })) as Any;
  const [reply] = await step.startAsync({ ...HELLO, maxTokens: 8 });
  assert.ok(reply.length > 0);
  return "ran, and the step it makes on the local model";
};

const aborting: Case = async (block) => {
  await twice(async (world, isSoon) => {
    await asItStands(block, world, { step: world.chatStep(), input: HELLO });
    if (isSoon) world.later();
    await world.until(() => world.printed.length > 0);
    assert.equal(world.printed[0]?.[0], isSoon ? "Operation cancelled" : "Success:");
  });
  return "ran on the local model, with the clock of 5 s going off when all was over, and at once: cancelled";
};

const application: Case = async (block) => {
  await twice(async (world, isSoon) => {
    let shown = "";
    let isComplete = false;
    const more = {
      updateUI: (text: string) => (shown = text),
      handleError: (error: unknown) => world.printed.push([error]),
      markComplete: () => (isComplete = true),
    };
    const { conversation } = (await asItStands(block, world, more)) as Any;
    if (isSoon) world.later();
    await world.until(() => isComplete);
    const said = conversation.GetMessages().map(({ role, text }: Any) => [role, text]).slice(1);
    const reply = shown === "" ? [] : [["assistant", shown]]; // it may have been cancelled before its first word
    assert.deepEqual([said, world.printed], [[["user", "Explain quantum computing briefly"], ...reply], []]);
    assert.ok(isSoon || shown.length > 0);
  });
  return "ran on the local model, with the clock of 10 s going off when all was over, and at once";
};

const input: Case = async (block, world) => {
  const given: Any = { messages: [{ role: "user", content: "Say hello." }], temperature: 0, maxTokens: 8 };
  for (const { name, type, isOptional } of fieldsOf(block.source)) {
    const owner = name in given ? given : given.messages[0];
    assert.ok(isOf(owner[name], type), name);
    assert.equal(isOptional, ["temperature", "maxTokens"].includes(name));
  }
  assert.ok((await world.chatStep().startAsync(given))[0]?.length);
  return "a shape; an input that has it was answered by the local model";
};

const errors: Case = async (block, world) => {
  const conversation = new world.client.Conversation();
  conversation.AddMessage("user", "Say hello.");
  await asItStands(block, world, { chatStep: world.chatStep(), conversation });
  assert.deepEqual(world.printed, []);
  for (const [word, words] of [
    ["limited", "rate limit"],
    ["long", "context length"],
    ["key", "invalid api key"],
  ] as const) {
    await failing(block, world, word, words);
  }
  return "ran on the local model, two chats at once; and on a scripted one that fails in each of the three ways";
};

async function failing(block: Block, world: World, word: string, words: string): Promise<void> {
  const conversation = new world.client.Conversation();
  conversation.AddMessage("user", `${word} ${crypto.randomUUID()}`);
  world.printed.length = 0;
  await asItStands(block, world, { chatStep: world.chatStep(SCRIPTED), conversation });
  await world.until(() => world.hasPrinted("LLM error:"));
  const [[, error]] = world.printed as Any;
  assert.ok(error.includes(words));
}

/** By the blocks' numbers. */
export const CHATTING: Readonly<Record<Block["number"], Case>> = {
  30: basic,
  31: pieces,
  32: withConversation,
  33: legacy,
  34: options,
  35: aborting,
  36: application,
  37: input,
  38: errors,
};
