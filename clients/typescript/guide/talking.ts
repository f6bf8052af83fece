/** The blocks on conversations and embeddings. */

import assert from "node:assert/strict";

import { type Block, fieldsOf, isOf, run } from "./blocks.ts";
import { type Any, asItStands, type Case, twice } from "./common.ts";
import type { World } from "./world.ts";

/** A conversation with a message of each kind. */
function full(world: World): Any {
  const conv = new (world.conversations())();
  conv.AddMessage("user", "Find main.", { id: "first", metadata: { source: "config" } });
  conv.AddMessageWithImage("user", "Here it is.", "/path/to/image.jpg");
  conv.AddToolUse("tool123", "searchCode", { query: "find main function" });
  conv.AddToolResult("tool123", "Found main function in main.go");
  return conv;
}

/** Checks that messages have the fields that a block shows, and that they are of the types it names. */
function shape(type: string | undefined): Case {
  return async (block, world) => {
    const messages = full(world)
      .GetMessages()
      .filter((message: Any) => type === undefined || message.type === type);
    assert.ok(messages.length > 0);
    for (const { name, type: wanted, isOptional } of fieldsOf(block.source)) {
      // Fields of pictures are shown within the message.
      const owners = OF_IMAGES.has(name) ? pictures(messages) : messages;
      const found = owners.filter((owner: Any) => name in owner);
      assert.ok(found.length > 0 && (isOptional || found.length === owners.length), name);
      for (const owner of found) assert.ok(isOf(owner[name], wanted), `${name} is no ${wanted}`);
    }
    return `a shape; ${messages.length} messages of the server have it`;
  };
}

const OF_IMAGES = new Set(["imageURL", "imageName", "mediaType", "detail"]);

function pictures(messages: Any[]): Any[] {
  return messages.flatMap((message) => message.images ?? []);
}

const creating: Case = async (block, world) => {
  const { conv, msgId, msgWithOptions } = (await asItStands(block, world, {
    Conversation: world.conversations("parent-message-id"),
  })) as Any;
  await conv.flush();
  const messages = conv.GetMessages();
  const configured = messages.find(({ id }: Any) => id === "custom-id");
  assert.equal(msgWithOptions, "custom-id");
  assert.deepEqual([configured.parentID, configured.time], ["parent-message-id", new Date("2024-01-01T00:00:00Z")]);
  assert.deepEqual(messages.at(-1).images.length, 1);
  assert.equal(typeof msgId, "string");
  return "ran";
};

const tools: Case = async (block, world) => {
  const conv = new world.client.Conversation();
  const { toolUseId, resultId } = (await asItStands(block, world, { conv })) as Any;
  const [use, result] = conv.GetMessages() as Any[];
  assert.deepEqual([use.id, use.name, use.input], [toolUseId, "searchCode", { query: "find main function" }]);
  assert.deepEqual([result.id, result.result], [resultId, "Found main function in main.go"]);
  return "ran";
};

const reading: Case = async (block, world) => {
  const conv = full(world);
  const { messages, messageView, prompt, goConv } = (await asItStands(block, world, { conv, msgId: "first" })) as Any;
  assert.deepEqual([messages.length, messageView], [4, "[user]: Find main."]);
  assert.match(prompt, /^\[user\]: Find main\.\n/);
  assert.equal(goConv.messages.length, 4);
  assert.deepEqual(conv.GetMessages()[0].metadata, { processed: true });
  return "ran";
};

const picture: Case = async (block, world) => {
  const conv = new (world.conversations())();
  await asItStands(block, world, { conv });
  const [message] = conv.GetMessages() as Any[];
  assert.deepEqual([message.images.length, message.images[0].mediaType], [1, "image/png"]);
  return "ran";
};

const model: Case = async (block, world) => {
  const { model } = (await asItStands(block, world)) as Any;
  assert.deepEqual(model, { name: "minilm", dimensions: 384 });
  assert.deepEqual(world.printed.flat(), ["Using model:", "minilm", "Vector dimensions:", 384]);
  return "ran";
};

const vector: Case = async (block, world) => {
  const { embedding } = (await asItStands(block, world)) as Any;
  assert.deepEqual(world.printed, [["Embedding dimensions:", 384]]);
  if (embedding) assert.ok(embedding instanceof Float32Array);
  return "ran";
};

const callbacks: Case = async (block) => {
  await twice(async (world, isSoon) => {
    await asItStands(block, world);
    if (isSoon) world.later();
    else await world.until(() => world.hasPrinted("Embedding generated:"));
    world.later();
  });
  return "ran, with the clock of 5 s going off when all was over, and at once";
};

const batch: Case = async (block, world) => {
  const scope = world.scope();
  await assert.rejects(run(block.source, scope), /Cannot access 'embeddings' before initialization/);
  assert.equal(world.printed[0]?.[0], "Batch processing failed:");
  const renamed = block.source
    .replace("const embeddings = await", "const vectors = await")
    .replace("return embeddings;", "return vectors;");
  const { allEmbeddings } = (await run(renamed, scope)) as Any;
  assert.deepEqual(allEmbeddings.map((each: Any) => each.length), [384, 384, 384]);
  const why = "`const embeddings` hides the API that its own value is made with";
  return `fails as it stands, in any JavaScript: ${why}; ran with that constant called \`vectors\``;
};

const semantic: Case = async (block, world) => {
  const { result } = (await asItStands(block, world)) as Any;
  assert.equal(result.document, "AI and machine learning concepts");
  assert.ok(result.similarity > 0.5);
  return "ran";
};

const practices: Case = async (block, world) => {
  const came: unknown[] = [];
  const note = (each: unknown) => came.push(each);
  const more = { text: "Hello", handleSuccess: note, handleError: note };
  const { startEmbedding, stopEmbedding } = (await asItStands(block, world, more)) as Any;
  startEmbedding();
  stopEmbedding();
  startEmbedding();
  await world.until(() => came.length > 0);
  assert.ok(came[0] instanceof Float32Array);
  assert.deepEqual(world.printed, [["Estimated memory usage: 1.46484375 MB"]]);
  return "ran";
};

/** By the blocks' numbers. */
export const TALKING: Readonly<Record<Block["number"], Case>> = {
  2: creating,
  3: tools,
  4: reading,
  5: shape(undefined),
  6: shape("chat-message"),
  7: shape("tool-use"),
  8: shape("tool-result"),
  9: picture,
  10: model,
  11: vector,
  12: vector,
  13: callbacks,
  14: batch,
  15: semantic,
  16: practices,
};
