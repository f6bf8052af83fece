import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { connect, StepwireError } from "stepwire";

import { client } from "./serve.ts";

async function failure(act: () => Promise<unknown>): Promise<StepwireError> {
  try {
    await act();
  } catch (thrown) {
    assert.ok(thrown instanceof StepwireError, String(thrown));
    return thrown;
  }
  throw new assert.AssertionError({ message: "nothing failed" });
}

/** Whether a call throws something with `includes`, as handlers ask of whatever they catch. */
function throwsInWords(call: () => unknown, words: string): void {
  assert.throws(call, (error: { includes?: (text: string) => boolean }) => {
    return error.includes?.(words) === true && error.includes("rate limit") === false;
  });
}

test("wrong arguments are refused in words that handlers can search", () => {
  const { ChatStepFactory, embeddings, steps } = client();
  const factory = new ChatStepFactory();
  const mine = new RangeError("too cold");
  throwsInWords(() => factory.newStep([() => mine]), "cold");
  throwsInWords(() => factory.newStep([() => Object.freeze(new StepwireError("too cold"))]), "cold");
  assert.throws(() => factory.newStep([() => mine]), (error) => error === mine);
  assert.throws(() => factory.newStep([() => Object.freeze(new Error("frozen"))]), /frozen/);
  throwsInWords(() => factory.newStep({} as never), "list");
  throwsInWords(() => factory.newStep([5 as never]), "option");
  throwsInWords(() => steps.compose("upper" as never), "list");
  throwsInWords(() => steps.withRetry("upper", { tries: 3 } as never), "tries");
  throwsInWords(() => steps.withRetry("upper", { emitted: "often" } as never), "often");
  throwsInWords(() => steps.registerStep("compose", "upper"), "compose");
  throwsInWords(() => steps.compose([]).startWithCallbacks(1, { onDone: 5 as never }), "onDone");
  throwsInWords(() => embeddings.generateEmbeddingWithCallbacks("x", { onSuccess: 5 as never }), "onSuccess");
});

test("callbacks may be left out, and be null", async () => {
  const { embeddings, steps } = client();
  for (const none of [undefined, null as never]) {
    steps.compose([]).startWithCallbacks(1, none)();
    embeddings.generateEmbeddingWithCallbacks("x", none)();
  }
});

describe("errors", () => {
  test("answer as the guide's handlers expect", async () => {
    const limited = await failure(() => client().chat("limited"));
    assert.ok(limited.includes("rate limit"));
    assert.equal(limited.reason, "PROVIDER_RATE_LIMITED");
    assert.equal(limited.code, "RESOURCE_EXHAUSTED");
    assert.equal(limited.retryDelayMs, 120_000);
    assert.ok(limited.isTransient);
    assert.equal(limited.metadata["provider"], "fake");
    assert.match(limited.requestId, /^[0-9a-f-]{36}$/);
    assert.equal(limited.name, "StepwireError");

    const long = await failure(() => client().chat("long"));
    assert.ok(long.includes("context length"));
    assert.ok(!long.isTransient);

    const key = await failure(() => client().chat("key"));
    assert.ok(key.includes("invalid api key"));
  });

  test("name every field to change", async () => {
    const error = await failure(() => client().chat("", { messages: [{ role: "banana", text: "x" }] }));
    assert.equal(error.code, "INVALID_ARGUMENT");
    assert.deepEqual(
      error.violations.map(({ field }) => field),
      ["messages[0].role"],
    );
    assert.match(error.violations[0]?.description ?? "", /banana/);
  });

  test("come out of streams, too", async () => {
    const error = await failure(async () => {
      for await (const _ of client().streamChat("hi", { model: "nope" }));
    });
    assert.equal(error.reason, "MODEL_NOT_FOUND");
    assert.equal(error.code, "NOT_FOUND");
  });

  test("say which server did not answer", async () => {
    const error = await failure(() => connect("127.0.0.1:1").models());
    assert.equal(error.code, "UNAVAILABLE");
    assert.match(error.message, /^no answer from 127\.0\.0\.1:1: /);
    assert.equal(error.reason, "");
    assert.ok(error.isTransient);
  });

  test("come from the services as they do from the client", async () => {
    const { services } = client();
    const error = await failure(() => services.conversations.getConversation({ conversationId: "nope" }));
    assert.equal(error.reason, "CONVERSATION_NOT_FOUND");
  });

  test("tell what a signal was aborted with, be it a time that is over", async () => {
    const reason = new Error("mine");
    for (const aborted of [reason, "mine", undefined, new DOMException("late", "TimeoutError")]) {
      const controller = new AbortController();
      const { signal } = controller;
      const talking = failure(async () => {
        for await (const { text } of client().streamChat("stall", { signal })) if (text) controller.abort(aborted);
      });
      const asking = failure(() => client().chat("stall", { signal }));
      for (const error of [await talking, await asking]) {
        assert.equal(error.name, "AbortError");
        assert.equal(error.cause, signal.reason);
      }
    }
    const { cause } = await failure(() => client().chat("stall", { signal: AbortSignal.timeout(1) }));
    assert.equal((cause as DOMException).name, "TimeoutError");
  });

  test("have a cause only where there is one", async () => {
    const error = await failure(() => client().chat("hi", { model: "nope" }));
    assert.ok(!Object.hasOwn(error, "cause"));
  });

  test("are ours where a message cannot be written, too", async () => {
    const { steps } = client();
    await failure(() => steps.javascript(42 as never).startAsync(1));
    assert.throws(() => steps.javascript(42 as never).startBlocking(1), StepwireError);
  });
});
