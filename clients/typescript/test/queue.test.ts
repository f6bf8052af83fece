import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { connect, StepwireError } from "stepwire";

import { client } from "./serve.ts";
import { relay } from "./relay.ts";

const { Conversation, ChatStepFactory } = client();
const step = new ChatStepFactory().newStep();

function texts(conversation: InstanceType<typeof Conversation>): unknown[] {
  return conversation.GetMessages().map((message) => message.Content["Text"]);
}

describe("the queue of a conversation", () => {
  test("keeps an earlier failure out of the answer of an update", async () => {
    for (const update of ["UpdateMetadata", "UpdateMetadataAsync"] as const) {
      const conv = new Conversation();
      const id = conv.AddMessage("user", "Hi", { metadata: { old: 1 } });
      conv.AddMessage("user", "lost", { parentID: "nope" });
      assert.equal(await conv[update](id, { now: 2 }), true);
      assert.equal(await conv[update]("nope", {}), false);
      await assert.rejects(conv.flush(), { reason: "MESSAGE_NOT_FOUND" });
      assert.deepEqual(conv.GetMessages()[0]?.metadata, { now: 2 });
    }
  });

  test("has chats and reads see what was added before them, and nothing else", async () => {
    const conv = new Conversation();
    conv.AddMessage("user", "say first");
    const started = step.startAsync(conv);
    const streamed = Array.fromAsync(step.stream(conv), ({ value }) => value);
    const read = conv.GetMessagesAsync();
    const prompted = conv.GetSinglePromptAsync();
    const exported = conv.ToGoConversationAsync();
    conv.AddMessage("user", "say second");
    assert.equal(conv.GetMessages().length, 2);
    assert.deepEqual(await started, ["first "]);
    assert.deepEqual(await streamed, ["first "]);
    assert.equal((await read).length, 1);
    assert.equal(await prompted, "say first");
    assert.equal(((await exported)["messages"] as unknown[]).length, 1);
  });

  test("makes updates in the order in which they were called", async () => {
    const conv = new Conversation();
    const id = conv.AddMessage("user", "Hi");
    const first = conv.updateMetadataAsync(id, { first: 1 });
    conv.UpdateMetadata(id, { second: 2 });
    await first;
    assert.deepEqual(conv.GetMessages()[0]?.metadata, { second: 2 });
  });

  test("tells all that was refused, as one, and once", async () => {
    const conv = new Conversation();
    conv.AddMessage("banana", "x");
    conv.AddMessage("user", "x", { time: "yesterday" });
    conv.AddMessage("user", "x", { parentID: "nope" });
    const error = await conv.flush().catch((thrown: unknown) => thrown);
    assert.ok(error instanceof StepwireError);
    assert.deepEqual(
      [error, ...error.others].map(({ reason }) => reason),
      ["INVALID_MESSAGE", "INVALID_TIME", "MESSAGE_NOT_FOUND"],
    );
    await conv.flush();
    assert.deepEqual(texts(conv), []);
  });

  test("tells the next one what an aborted chat would have been told", async () => {
    const conv = new Conversation();
    conv.AddMessage("banana", "x");
    const controller = new AbortController();
    const running = step.startAsync(conv, { signal: controller.signal });
    const cancel = step.startWithCallbacks(conv);
    controller.abort();
    cancel();
    await assert.rejects(running, { name: "AbortError" });
    await assert.rejects(conv.flush(), { reason: "INVALID_MESSAGE" });
  });

  test("takes a signal and a time", async () => {
    const conv = new Conversation();
    conv.AddMessage("user", "x");
    const cause = new Error("mine");
    await assert.rejects(conv.flush({ signal: AbortSignal.abort(cause) }), { name: "AbortError", cause });
    await assert.rejects(conv.getMessagesAsync({ signal: AbortSignal.abort() }), { name: "AbortError" });
    assert.equal((await conv.getMessagesAsync({ timeoutMs: 60_000 })).length, 1);
  });

  test("refuses what is no text", async () => {
    const conv = new Conversation();
    conv.AddMessage("user", { a: 1 } as never);
    await assert.rejects(conv.flush(), { reason: "INVALID_MESSAGE" });
    conv.AddToolResult("t", 5 as never);
    await assert.rejects(conv.flush(), { reason: "INVALID_MESSAGE" });
    assert.deepEqual(texts(conv), []);
  });
});

describe("an empty reply", () => {
  test("is not kept, and stands for the message before it", () => {
    const conv = new Conversation();
    conv.AddMessage("user", "a");
    const skipped = conv.AddMessage("assistant", "");
    conv.AddMessage("user", "b", { parentID: skipped });
    const branch = conv.AddMessage("user", "c", { parentID: skipped });
    assert.deepEqual(texts(conv), ["a", "c"]);
    assert.equal(conv.GetMessages()[1]?.id, branch);
  });

  test("is the head's, where nothing was added before it", () => {
    const conv = new Conversation();
    conv.AddMessage("user", "a", { parentID: conv.AddMessage("assistant", "") });
    assert.deepEqual(texts(conv), ["a"]);
  });

  test("with options is for the server to refuse", async () => {
    const conv = new Conversation();
    conv.AddMessage("assistant", "", { id: "mine" });
    await assert.rejects(conv.flush(), StepwireError);
  });
});

describe("while the server is away", () => {
  test("what was added stays, and is stored in order and once when it is back", async (t) => {
    const far = await relay();
    t.after(() => far.close());
    const remote = connect(far.address);
    t.after(() => remote.close());
    far.leave();
    const conv = new remote.Conversation();
    const ids = ["a", "b", "c"].map((text) => conv.AddMessage("user", text));
    for (const trial of [() => conv.flush(), () => conv.getMessagesAsync(), () => step.startAsync(conv)]) {
      await assert.rejects(trial(), { code: "UNAVAILABLE", isTransient: true });
    }
    conv.AddMessage("banana", "refused");
    ids.push(conv.AddMessage("user", "d"));
    far.comeBack();
    await assert.rejects(conv.flush(), { reason: "INVALID_MESSAGE" });
    await conv.flush();
    assert.deepEqual(
      (await conv.getMessagesAsync()).map(({ id }) => id),
      ids,
    );
  });

  test("nothing behind a message that was not sent is stored before it", async (t) => {
    const far = await relay();
    t.after(() => far.close());
    const remote = connect(far.address);
    t.after(() => remote.close());
    const conv = new remote.Conversation();
    conv.AddMessage("user", "a");
    await conv.flush();
    far.leave();
    conv.AddMessage("user", "b");
    await assert.rejects(conv.flush(), { isTransient: true });
    far.comeBack();
    conv.AddMessage("user", "c");
    const messages = await conv.getMessagesAsync(); // this thread is the relay: it must not be blocked
    assert.deepEqual(
      messages.map(({ Content }) => Content["Text"]),
      ["a", "b", "c"],
    );
  });

  test("what it could not be sent does not keep the program", async () => {
    const { spawnSync } = await import("node:child_process");
    const script = `import { connect } from "stepwire";
      const conv = new (connect("127.0.0.1:1").Conversation)();
      conv.AddMessage("user", "x");
      await conv.flush().catch((error) => console.log(error.code));`;
    const { stdout } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
      encoding: "utf8",
      timeout: 60_000,
    });
    assert.equal(stdout.trim(), "UNAVAILABLE");
  });
});
