import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { StepwireError } from "stepwire";

import { client } from "./serve.ts";

describe("embeddings", () => {
  test("are float32 arrays, in the order of the texts, however many", async () => {
    const texts = Array.from({ length: 300 }, (_, index) => "x".repeat(1 + (index % 7)));
    const vectors = await client().embed(texts);
    assert.equal(vectors.length, 300);
    assert.ok(vectors[0] instanceof Float32Array);
    assert.deepEqual(
      vectors.map(([first]) => first),
      texts.map((text) => text.length),
    );
  });

  test("stream with an error in the place of a text that failed", async () => {
    const results = await Array.fromAsync(client().streamEmbeddings(["a", " ", "ccc"], { inOrder: true }));
    assert.deepEqual(
      results.map(({ index, vector }) => [index, vector?.[0]]),
      [
        [0, 1],
        [1, undefined],
        [2, 3],
      ],
    );
    assert.equal(results[1]?.error?.reason, "INVALID_INPUT_TEXT");
  });

  test("rank documents", async () => {
    const hits = await client().search("query", ["a", "bb"], { topK: 1 });
    assert.deepEqual(hits, [{ index: 0, score: 1, text: "a" }]);
  });
});

describe("the guide's embeddings", () => {
  test("tell their model at once", () => {
    assert.deepEqual(client().embeddings.getModel(), { name: "vectors", dimensions: 3 });
  });

  test("are there at once", () => {
    const embedding = client().embeddings.generateEmbedding("Hello, world!");
    assert.ok(embedding instanceof Float32Array);
    assert.deepEqual([...embedding], [13, 0, 0]);
  });

  test("fail at once", () => {
    const { embeddings } = client();
    assert.throws(
      () => embeddings.generateEmbedding(""),
      (error) => {
        assert.ok(error instanceof StepwireError);
        return error.reason === "INVALID_INPUT_TEXT" && error.violations[0]?.field === "texts[0]";
      },
    );
  });

  test("come as promises, in either spelling", async () => {
    const { embeddings } = client();
    assert.deepEqual([...(await embeddings.generateEmbeddingAsync("abc"))], [3, 0, 0]);
    assert.deepEqual([...(await embeddings.GenerateEmbeddingAsync("abc"))], [3, 0, 0]);
    assert.equal((await embeddings.getModelAsync()).dimensions, 3);
  });

  test("tell success, then that it is done", async () => {
    const told = await tellings((callbacks) => client().embeddings.generateEmbeddingWithCallbacks("abc", callbacks));
    assert.deepEqual(told, ["success 3", "done"]);
  });

  test("tell an error, then that it is done", async () => {
    const told = await tellings((callbacks) => client().embeddings.generateEmbeddingWithCallbacks("", callbacks));
    assert.deepEqual(told, ["error INVALID_INPUT_TEXT", "done"]);
  });

  test("tell of a cancel, and of nothing that came before it", async () => {
    const told = await tellings((callbacks) => {
      const cancel = client().embeddings.generateEmbeddingWithCallbacks("abc", callbacks);
      cancel();
      cancel();
    });
    assert.deepEqual(told, ["cancel", "done"]);
  });
});

describe("what is no text", () => {
  const { embeddings, embed, search, streamEmbeddings } = bound();

  test("is not made one", async () => {
    const refused = { reason: "INVALID_INPUT_TEXT" };
    assert.throws(() => embeddings.generateEmbedding(42 as never), refused);
    await assert.rejects(embeddings.generateEmbeddingAsync({} as never), refused);
    await assert.rejects(embed(["x", undefined as never]), refused);
    await assert.rejects(search("x", [1 as never]), refused);
    await assert.rejects(Array.fromAsync(streamEmbeddings([null as never])), refused);
    const error = await new Promise<StepwireError>((onError) => {
      embeddings.generateEmbeddingWithCallbacks(42 as never, { onError });
    });
    assert.equal(error.reason, "INVALID_INPUT_TEXT");
  });

  test("a vector is told as a result, as everywhere else, and only to functions", async () => {
    const vector = await new Promise((onResult) => embeddings.generateEmbeddingWithCallbacks("abc", { onResult }));
    assert.ok(vector instanceof Float32Array);
    const wrong = { onSuccess: 5 as never };
    assert.throws(() => embeddings.generateEmbeddingWithCallbacks("abc", wrong), /onSuccess is no function/);
  });
});

function bound() {
  const made = client();
  return {
    embeddings: made.embeddings,
    embed: made.embed.bind(made),
    search: made.search.bind(made),
    streamEmbeddings: made.streamEmbeddings.bind(made),
  };
}

type Callbacks = Parameters<ReturnType<typeof client>["embeddings"]["generateEmbeddingWithCallbacks"]>[1];

async function tellings(start: (callbacks: Callbacks) => unknown): Promise<string[]> {
  const told: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  start({
    onSuccess: ([first]) => told.push(`success ${first}`),
    onError: (error) => told.push(`error ${error.reason}`),
    onCancel: () => told.push("cancel"),
    onDone: () => {
      told.push("done");
      resolve();
    },
  });
  await promise;
  return told;
}
