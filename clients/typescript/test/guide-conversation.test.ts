import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { inspect } from "node:util";
import { deflateSync } from "node:zlib";
import type { StepwireError } from "stepwire";

import { client } from "./serve.ts";

const { Conversation } = client();

describe("the guide's Conversation", () => {
  test("gives ids at once and messages when it is asked", () => {
    const conv = new Conversation();
    const system = conv.AddMessage("system", "Be brief", { metadata: { source: "config" } });
    const user = conv.AddMessage("user", "Hello", { id: "custom-id", time: "2024-01-01T00:00:00Z" });
    assert.equal(user, "custom-id");
    const [first, second] = conv.GetMessages();
    assert.ok(first?.type === "chat-message" && second?.type === "chat-message");
    assert.deepEqual(
      [first.id, first.role, first.text, first.metadata],
      [system, "system", "Be brief", { source: "config" }],
    );
    assert.equal(first.parentID, "");
    assert.equal(second.parentID, system);
    assert.deepEqual(second.time, new Date("2024-01-01T00:00:00Z"));
    assert.ok(second.lastUpdate instanceof Date);
    assert.deepEqual(second.Content, { Role: "user", Text: "Hello" });
  });

  test("keeps tool uses and results", () => {
    const conv = new Conversation();
    conv.AddMessage("user", "Where is main?");
    const use = conv.AddToolUse("tool123", "searchCode", { query: "find main function" });
    const result = conv.AddToolResult("tool123", "Found main function in main.go");
    const [, second, third] = conv.GetMessages();
    assert.ok(second?.type === "tool-use" && third?.type === "tool-result");
    assert.deepEqual(
      [second.toolID, second.name, second.input, second.toolType],
      ["tool123", "searchCode", { query: "find main function" }, "function"],
    );
    assert.deepEqual([third.toolID, third.result], ["tool123", "Found main function in main.go"]);
    assert.equal(
      conv.GetMessageView(use),
      'ToolUseContent{ToolID: tool123, Name: searchCode, Input: {"query":"find main function"}}',
    );
    assert.equal(
      conv.GetMessageView(result),
      "ToolResultContent{ToolID: tool123, Result: Found main function in main.go}",
    );
  });

  test("writes prompts, views and exports, in either spelling and either form", async () => {
    const conv = new Conversation();
    assert.equal(conv.GetSinglePrompt(), "");
    const id = conv.addMessage("user", "Hi");
    assert.equal(conv.getSinglePrompt(), "Hi");
    conv.AddMessage("assistant", "Yes?");
    const prompt = "[user]: Hi\n[assistant]: Yes?\n";
    assert.equal(conv.GetSinglePrompt(), prompt);
    assert.equal(await conv.getSinglePromptAsync(), prompt);
    assert.equal(conv.GetMessageView(id), "[user]: Hi");
    assert.equal(await conv.GetMessageViewAsync(id), "[user]: Hi");
    assert.deepEqual(await conv.getMessagesAsync(), conv.GetMessages());
    assert.deepEqual(await conv.toGoConversationAsync(), conv.ToGoConversation());
    const { messages } = conv.toGoConversation() as { messages: { text: string }[] };
    assert.deepEqual(
      messages.map(({ text }) => text),
      ["Hi", "Yes?"],
    );
    assert.deepEqual(
      (await conv.wireMessages()).map(({ text }) => text),
      ["Hi", "Yes?"],
    );
    assert.deepEqual(
      conv.wireMessagesBlocking().map(({ text }) => text),
      ["Hi", "Yes?"],
    );
  });

  test("replaces metadata, and says false of a message that is not there", async () => {
    const conv = new Conversation();
    const id = conv.AddMessage("user", "Hi", { metadata: { old: 1 } });
    assert.equal(conv.UpdateMetadata(id, { processed: true }), true);
    assert.deepEqual(conv.GetMessages()[0]?.metadata, { processed: true });
    assert.equal(conv.UpdateMetadata("nope", {}), false);
    assert.equal(await conv.updateMetadataAsync("nope", {}), false);
    assert.equal(await conv.updateMetadataAsync(id, { again: 1 }), true);
  });

  test("tells the first failure once, and goes on", async () => {
    const conv = new Conversation();
    conv.AddMessage("banana", "x");
    conv.AddMessage("user", "Hi", { parentID: "parent-message-id" });
    conv.AddMessage("user", "kept");
    await assert.rejects(conv.flush(), { reason: "INVALID_MESSAGE" });
    await conv.flush();
    assert.deepEqual(
      conv.GetMessages().map((message) => message.Content["Text"]),
      ["kept"],
    );
    conv.AddToolResult("orphan", "x");
    assert.throws(() => conv.GetMessages(), { reason: "INVALID_MESSAGE" });
    assert.equal(conv.GetMessages().length, 1);
  });

  test("tells in its turn what could not even be sent", async () => {
    const conv = new Conversation();
    for (const [options, reason] of [
      [{ time: "yesterday" }, "INVALID_TIME"],
      [{ metadata: { big: Number.NaN } }, "INVALID_METADATA"],
      [{ metadata: { call: (() => 1) as unknown as string } }, "INVALID_METADATA"],
    ] as const) {
      conv.AddMessage("user", "x", options);
      await assert.rejects(conv.flush(), { reason });
    }
    conv.AddMessageWithImage("user", "x", "/no/such/picture.png");
    await assert.rejects(conv.flush(), { reason: "FILE_NOT_FOUND" });
  });

  test("gives a message an id where an empty one is given, and takes null for no options", () => {
    const conv = new Conversation();
    const first = conv.AddMessage("user", "a", { id: "" });
    const second = conv.AddMessage("user", "b", null as never);
    const ids = conv.GetMessages().map(({ id }) => id);
    assert.deepEqual([first.length, ids], [36, [first, second]]);
  });

  test("refuses options that there are not, at once and in words that handlers can search", () => {
    const conv = new Conversation();
    const wrong = { parentId: "x" } as object;
    for (const add of [
      () => conv.AddMessage("user", "x", wrong),
      () => conv.AddMessageWithImage("user", "x", "x.png", wrong),
      () => conv.AddToolUse("t", "x", {}, wrong),
      () => conv.AddToolResult("t", "x", wrong),
      () => conv.AddMessage("user", "x", "y" as never),
    ]) {
      assert.throws(add, (error: TypeError & { includes?: (text: string) => boolean }) => {
        return error instanceof TypeError && error.includes?.("option") === true;
      });
    }
    assert.deepEqual(conv.GetMessages(), []);
  });

  test("takes pictures as data and file URLs, with schemes of any letters", (t) => {
    const folder = mkdtempSync(join(tmpdir(), "stepwire-"));
    t.after(() => rmSync(folder, { recursive: true }));
    writeFileSync(join(folder, "a b.png"), png(2));
    const conv = new Conversation();
    const data = `;base64,${png(2).toString("base64")}`;
    for (const source of [
      `data:image/png${data}`,
      `DATA:${data}`,
      `FILE://${folder}/a%20b.png`,
      `file://localhost${folder}/a%20b.png`,
      "HTTPS://example.com/cat.png",
    ]) {
      conv.AddMessageWithImage("user", "x", source);
    }
    const images = conv.GetMessages().flatMap((message) => (message.type === "chat-message" && message.images) || []);
    assert.deepEqual(
      images.map(({ imageName, mediaType }) => [imageName, mediaType]),
      [
        ["", "image/png"],
        ["", "image/png"],
        ["a b.png", "image/png"],
        ["a b.png", "image/png"],
        ["", ""],
      ],
    );
  });

  test("says what is wrong with a URL or a path, and never repeats what a picture holds", async () => {
    const conv = new Conversation();
    const content = "A".repeat(100_000);
    for (const [source, reason] of [
      [`data:image/png,${content}`, "FIELD_INVALID"],
      [`data:image/png;base64,${content}!`, "FIELD_INVALID"],
      [`data:image/png;base64`, "FIELD_INVALID"],
      ["file://elsewhere/a.png", "FIELD_INVALID"],
      ["file:///no/such/picture.png", "FILE_NOT_FOUND"],
      ["file:///no%ZZ.png", "FILE_NOT_FOUND"],
      [content, "FILE_NOT_FOUND"],
    ] as const) {
      conv.AddMessageWithImage("user", "x", source);
      await assert.rejects(conv.flush(), (error: StepwireError) => {
        return error.reason === reason && inspect(error).length < 4_000;
      });
    }
  });

  test("stores pictures of files, small and large, and keeps URLs", async (t) => {
    const folder = mkdtempSync(join(tmpdir(), "stepwire-"));
    t.after(() => rmSync(folder, { recursive: true }));
    const conv = new Conversation();
    for (const [name, side] of [
      ["small.png", 2],
      ["large.png", 1300],
    ] as const) {
      writeFileSync(join(folder, name), png(side));
      conv.AddMessageWithImage("user", name, join(folder, name));
    }
    conv.AddMessageWithImage("user", "a URL", "https://example.com/cat.png");
    await conv.flush();
    const images = conv.GetMessages().map((message) => message.type === "chat-message" && message.images?.[0]);
    assert.deepEqual(
      images.map((image) => image && [image.imageName, image.mediaType]),
      [
        ["small.png", "image/png"],
        ["large.png", "image/png"],
        ["", ""],
      ],
    );
    assert.equal(images[2] && images[2].imageURL, "https://example.com/cat.png");
    writeFileSync(join(folder, "text.png"), "no picture");
    conv.AddMessageWithImage("user", "x", join(folder, "text.png"));
    await assert.rejects(conv.flush(), { reason: "UNSUPPORTED_IMAGE_FORMAT" });
  });

  test("opens one that the server has", async () => {
    const conv = new Conversation();
    conv.AddMessage("user", "Hi");
    await conv.flush();
    const again = new Conversation(conv.id);
    again.AddMessage("assistant", "Yes?");
    assert.equal(conv.GetSinglePrompt(), "[user]: Hi\n[assistant]: Yes?\n");
  });

  test("sends what is queued before the process ends, though nobody waits", async () => {
    const { spawnSync } = await import("node:child_process");
    const id = crypto.randomUUID();
    const script = `import { connect } from "stepwire";
      const { Conversation } = connect(process.env.STEPWIRE_ADDRESS);
      const conv = new Conversation();
      for (let i = 0; i < 20; i++) conv.AddMessage("user", "${id} " + i);
      console.log(conv.id);`;
    const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
    assert.equal(stderr, "");
    assert.equal(new Conversation(stdout.trim()).GetMessages().length, 20);
  });
});

/** A grey picture of noise, which does not get smaller when it is packed. */
function png(side: number): Buffer {
  const rows = Buffer.alloc(side * (side * 3 + 1));
  for (let at = 0, seed = 1; at < rows.length; at++) {
    seed = (seed * 1103515245 + 12345) & 0x7fffffff;
    rows[at] = at % (side * 3 + 1) === 0 ? 0 : seed >> 16;
  }
  const head = Buffer.alloc(13);
  head.writeUInt32BE(side, 0);
  head.writeUInt32BE(side, 4);
  head.set([8, 2, 0, 0, 0], 8);
  const chunks = [chunk("IHDR", head), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))];
  return Buffer.concat([Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]), ...chunks]);
}

function chunk(kind: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(kind, "latin1"), data]);
  const framed = Buffer.alloc(body.length + 8);
  framed.writeUInt32BE(data.length, 0);
  framed.set(body, 4);
  framed.writeUInt32BE(crc(body), body.length + 4);
  return framed;
}

function crc(bytes: Buffer): number {
  let sum = ~0;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit++) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
  }
  return ~sum >>> 0;
}
