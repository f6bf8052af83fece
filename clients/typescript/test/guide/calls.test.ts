/** The guide's calls in its own spelling, in programs of ours: on the local models. */

import assert from "node:assert/strict";
import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";

import { client } from "../serve.ts";

const { Conversation, embeddings, steps, ChatStepFactory } = client();

const DOT = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
);

describe("conversations", () => {
  test("are written and read without a wait", () => {
    const talk = new Conversation();
    const greeting = talk.AddMessage("user", "Good morning");
    talk.AddMessage("system", "Answer in verse", {
      metadata: { author: "Ada" },
      parentID: greeting,
      time: "2025-05-06T07:08:09Z",
      id: "verse-1",
    });
    const file = join(mkdtempSync(join(tmpdir(), "guide-")), "dot.png");
    writeFileSync(file, DOT);
    const shown = talk.AddMessageWithImage("user", "What do you see?", file);
    const use = talk.AddToolUse("call-7", "weather", { city: "Oslo" });
    const answer = talk.AddToolResult("call-7", "Rain");

    const all = talk.GetMessages();
    assert.deepEqual(all.map(({ id }) => id), [greeting, "verse-1", shown, use, answer]);
    const types = all.map(({ type }) => type);
    assert.deepEqual(types, ["chat-message", "chat-message", "chat-message", "tool-use", "tool-result"]);
    assert.equal(talk.GetMessageView(greeting), "[user]: Good morning");
    assert.match(talk.GetMessageView(use), /^ToolUseContent\{/);
    assert.match(talk.GetMessageView(answer), /^ToolResultContent\{/);
    talk.UpdateMetadata(greeting, { seen: true });
    assert.deepEqual(talk.GetMessages()[0]?.metadata, { seen: true });
    assert.match(talk.GetSinglePrompt(), /Good morning\n/);
    assert.deepEqual(talk.toGoConversation(), talk.ToGoConversation());
  });
});

describe("embeddings", () => {
  const words = ["A kitten sleeps", "Shares fell", "The bread is warm"];

  test("are numbers of a length that the model has", async () => {
    const { name, dimensions } = embeddings.getModel();
    assert.ok(name.length > 0);
    const now = embeddings.generateEmbedding("A cat");
    assert.ok(now instanceof Float32Array);
    assert.deepEqual([now.length, (await embeddings.generateEmbeddingAsync("A cat")).length], [dimensions, dimensions]);
  });

  test("come to callbacks, unless these were cancelled", async () => {
    const vector = await new Promise<Float32Array>((onSuccess, onError) => {
      embeddings.generateEmbeddingWithCallbacks("A cat", { onSuccess, onError });
    });
    assert.equal(vector.length, 384);
    const cancel = embeddings.generateEmbeddingWithCallbacks("A dog", {
      onSuccess: () => assert.fail(),
      onError: () => undefined,
    });
    cancel();
    cancel();
  });

  test("of many texts tell which is nearest", async () => {
    const cosine = (one: Float32Array, other: Float32Array) =>
      one.reduce((sum, each, place) => sum + each * (other[place] ?? 0), 0);
    const wanted = await embeddings.generateEmbeddingAsync("a young cat");
    const vectors = await Promise.all(words.map((text) => embeddings.generateEmbeddingAsync(text)));
    const scores = vectors.map((each) => cosine(wanted, each));
    assert.equal(words[scores.indexOf(Math.max(...scores))], "A kitten sleeps");
  });

  test("of nothing are refused", async () => {
    assert.throws(() => embeddings.generateEmbedding(" "), { reason: "INVALID_INPUT_TEXT" });
    await assert.rejects(embeddings.generateEmbeddingAsync(""), { reason: "INVALID_INPUT_TEXT" });
  });
});

describe("steps", () => {
  test("find, join and ask", async () => {
    const finding = steps.search(1);
    const factory = new ChatStepFactory();
    const asking = factory.newStep([{ temperature: 0, maxTokens: 12 }]);
    const pipeline = steps.compose([
      (query: string) => finding.startAsync({ query, documents: ["A kitten sleeps", "Shares fell"] }),
      (hits: { text: string }[]) => hits.map(({ text }) => text).join("\n"),
      (found: string) => asking.startAsync({ messages: [{ role: "user", content: `In other words: ${found}` }] }),
    ]);
    const replies: string[][] = await pipeline.startAsync("a young cat");
    assert.ok(replies[0]?.[0]);
  });

  test("are watched, tried again, counted and worked on side by side", async () => {
    const seen: unknown[] = [];
    let failures = 1;
    const unsteady = (word: string) => {
      if (failures-- > 0) throw Object.assign(new Error("not now"), { isTransient: true });
      return word.length;
    };
    const steady = steps.withRetry(unsteady, {
      maxAttempts: 2,
      backoff: () => 0,
      shouldRetry: (error) => error.isTransient,
    });
    const watched = steps.withEvents(steady, {
      onStart: (word) => seen.push(word),
      onResult: (count) => seen.push(count),
    });
    const numbered = steps.withState({
      initialState: { place: 0 },
      step: (count: number, state: { place: number }) => {
        state.place++;
        return `${state.place}: ${count}`;
      },
    });
    const counted = steps.compose([steps.spread(), watched, numbered]);
    assert.deepEqual(await counted.startAsync(["one", "three"]), ["1: 3", "2: 5"]);
    assert.deepEqual(seen, ["one", 3, "three", 5]);
    const beside = steps.createParallelStep({ maxConcurrency: 2, step: (word: string) => word.toUpperCase() });
    assert.deepEqual(beside.startBlocking(["a", "b", "c"]), ["A", "B", "C"]);
  });
});

describe("a chat", () => {
  test("goes on turn by turn, with chunks as they come", async () => {
    const talk = new Conversation();
    const step = new ChatStepFactory().newStep([{ temperature: 0, maxTokens: 10 }]);
    talk.AddMessage("system", "You are brief.");
    for (const said of ["Say hello.", "Once more, please."]) {
      talk.AddMessage("user", said);
      let reply = "";
      await new Promise<void>((resolve, reject) => {
        step.startWithCallbacks(talk, {
          onResult: (chunk) => {
            reply += chunk;
          },
          onError: reject,
          onDone: () => {
            talk.AddMessage("assistant", reply);
            resolve();
          },
        });
      });
      assert.ok(reply.length > 0);
    }
    assert.deepEqual(
      talk.GetMessages().map((message) => (message.type === "chat-message" ? message.role : message.type)),
      ["system", "user", "assistant", "user", "assistant"],
    );
  });

  test("may be held twice at once on one conversation", async () => {
    const talk = new Conversation();
    talk.AddMessage("user", "Say hello.");
    const step = new ChatStepFactory().newStep([{ temperature: 0, maxTokens: 8 }]);
    const [one, other] = await Promise.all([step.startAsync(talk), step.startAsync(talk)]);
    assert.deepEqual([one.length, one], [1, other]);
  });

  test("is cancelled by a controller", async () => {
    const controller = new AbortController();
    const step = new ChatStepFactory().newStep();
    const asked = { messages: [{ role: "user", content: "Tell a long story." }] };
    const running = step.startAsync(asked, { signal: controller.signal });
    controller.abort();
    await assert.rejects(running, { name: "AbortError" });
  });
});
