import { create } from "@bufbuild/protobuf";
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type CallContext, type ChatStep, StepwireError } from "stepwire";
import { MessageSchema } from "stepwire/v1";

import { asked, client, closed, prompt } from "./serve.ts";

const { ChatStepFactory, Conversation, steps } = client();
const factory = new ChatStepFactory();

/** The guide's own way to write a chat. */
function messages(content: string) {
  return { messages: [{ role: "system", content: "Be brief." }, { role: "user", content }] };
}

describe("a chat step", () => {
  test("results in one text, the whole reply", async () => {
    const step = factory.newStep();
    const reply = await step.startAsync(messages("say one two"));
    assert.deepEqual(reply, ["one two "]);
    assert.deepEqual([`${reply}`, reply.metadata.usage?.inputTokens], ["one two ", 3]);
    assert.deepEqual(step.startBlocking(messages("say one two")), ["one two "]);
  });

  test("takes a conversation, old and new messages, and texts, and adds nothing to them", async () => {
    const step = factory.newStep();
    const conversation = new Conversation();
    conversation.AddMessage("system", "Be brief.");
    conversation.AddMessage("user", "say this", { metadata: { source: "test" } });
    for (const given of [conversation, "say this", [{ role: "user", text: "say this" }], messages("say this")]) {
      assert.deepEqual(await step.startAsync(given), ["this "]);
      assert.deepEqual(step.startBlocking(given), ["this "]);
    }
    assert.equal(conversation.GetMessages().length, 2);
  });

  test("goes on after a reply that was cancelled before its first word", async () => {
    const step = factory.newStep();
    const conversation = new Conversation();
    conversation.AddMessage("user", "Hello?");
    conversation.AddMessage("assistant", "");
    conversation.AddMessage("user", "say well");
    assert.deepEqual(await step.startAsync(conversation), ["well "]);
  });

  test("leaves empty replies out of what it is given", async () => {
    const step = factory.newStep();
    const said = { role: "user", content: "say well" };
    for (const empty of [
      { role: "assistant", content: "" },
      { role: "assistant", text: "" },
      create(MessageSchema, { role: "assistant" }),
    ]) {
      assert.deepEqual(await step.startAsync({ messages: [{ role: "user", content: "Hello?" }, empty, said] }), ["well "]);
      assert.deepEqual(step.startBlocking([empty, said]), ["well "]);
    }
    await assert.rejects(step.startAsync([{ role: "user", content: "" }, said]), { reason: "STEP_INPUT_INVALID" });
  });

  test("gives its text piece by piece to callbacks", async () => {
    const pieces: string[] = [];
    await new Promise<void>((resolve) => {
      factory.newStep().startWithCallbacks(messages("say one two three"), {
        onResult: (piece) => pieces.push(piece),
        onDone: () => resolve(),
      });
    });
    assert.equal(pieces.join(""), "one two three ");
    const streamed = await Array.fromAsync(factory.newStep().stream("say one two"), ({ value }) => value);
    assert.equal(streamed.join(""), "one two ");
  });

  test("is set by objects, functions and its input; the last one wins", async () => {
    const step = factory.newStep([
      { temperature: 0.5, maxTokens: 20 },
      (made: ChatStep) => {
        made.settings.temperature = 0.7;
        return null;
      },
    ]);
    assert.deepEqual(step.settings, { temperature: 0.7, maxTokens: 20 });
    assert.deepEqual(await step.startAsync({ ...messages("say well"), temperature: 1, model: "fake" }), ["well "]);
    await assert.rejects(step.startAsync({ ...messages("hi"), model: "nope" }), { reason: "MODEL_NOT_FOUND" });
    await assert.rejects(step.startAsync({ ...messages("hi"), nope: 1 }), /nope/);
  });

  test("is not made where an option refuses", () => {
    assert.throws(() => factory.newStep([() => new RangeError("too cold")]), RangeError);
    assert.throws(() => factory.newStep([() => "too cold"]), { message: "too cold", reason: "MODEL_CONFIG_INVALID" });
    assert.throws(() => factory.newStep([{ temperature: "hot" as never }]), StepwireError);
    assert.throws(() => factory.newStep({ temperature: 1 } as never), TypeError);
    assert.throws(() => factory.newStep([null as never]), TypeError);
    assert.throws(() => factory.newStep(["hot" as never]), TypeError);
    assert.deepEqual(factory.NewStep([() => undefined]).settings, {});
  });

  test("stands in a pipeline", async () => {
    const piped = steps.compose([
      (topic: string) => messages(`say about ${topic}`),
      factory.newStep([{ maxTokens: 9 }]),
      (text: string) => text.toUpperCase(),
    ]);
    assert.deepEqual(await piped.startAsync("cats"), ["ABOUT CATS "]);
  });

  test("is watched", async () => {
    const log: unknown[] = [];
    const watched = steps.withEvents(factory.newStep(), { onResult: (text: string) => log.push(text) });
    await watched.startAsync("say well");
    assert.deepEqual(log, ["well "]);
  });

  for (const [word, said] of [
    ["limited", "rate limit"],
    ["long", "context length"],
    ["key", "invalid api key"],
  ] as const) {
    test(`fails with the words that handlers look for: ${said}`, async () => {
      const step = factory.newStep();
      const wanted = (error: StepwireError) => error instanceof StepwireError && error.includes(said);
      await assert.rejects(step.startAsync(messages(prompt(word))), wanted);
      assert.throws(() => step.startBlocking(messages(prompt(word))), wanted);
      const error = await new Promise<StepwireError>((resolve) => {
        step.startWithCallbacks(messages(prompt(word)), { onError: resolve });
      });
      assert.ok(wanted(error));
    });
  }

  test("refuses what is no conversation", async () => {
    const step = factory.newStep();
    await assert.rejects(step.startAsync({ messages: "hi" as never }), { reason: "INVALID_CONVERSATION" });
    await assert.rejects(step.startAsync({ messages: [] }), StepwireError);
    await assert.rejects(step.startAsync({ messages: [{ role: "banana", content: "hi" }] }), StepwireError);
    await assert.rejects(step.startAsync([1 as never]), { reason: "INVALID_MESSAGE" });
    const conversation = new Conversation();
    conversation.AddMessage("banana", "hi");
    await assert.rejects(step.startAsync(conversation), StepwireError);
  });
});

describe("the provider's socket is closed", () => {
  const step = factory.newStep();

  /** Starts with callbacks; calls `act` with the cancel function at the first piece. */
  async function started(content: string, act: (cancel: () => void) => void): Promise<string[]> {
    const log: string[] = [];
    await new Promise<void>((resolve) => {
      const cancel = step.startWithCallbacks(messages(content), {
        onResult: (piece) => {
          log.push(piece);
          act(cancel);
        },
        onError: (error) => log.push(error.message),
        onCancel: () => log.push("cancel"),
        onDone: () => {
          log.push("done");
          resolve();
        },
      });
    });
    return log;
  }

  test("by cancel", async (context) => {
    const stalled = prompt("stall");
    let since = 0;
    const log = await started(stalled, (cancel) => {
      since = performance.now();
      cancel();
    });
    await closed(stalled);
    context.diagnostic(`closed ${(performance.now() - since).toFixed(1)} ms after cancel()`);
    assert.deepEqual(log, ["Hello", "cancel", "done"]);
  });

  test("by an AbortController", async (context) => {
    const silent = prompt("silent");
    const controller = new AbortController();
    const { signal } = controller;
    const running = assert.rejects(step.startAsync(messages(silent), { signal }), { name: "AbortError" });
    await asked(silent);
    const since = performance.now();
    controller.abort();
    await running;
    await closed(silent);
    context.diagnostic(`closed ${(performance.now() - since).toFixed(1)} ms after abort()`);
  });

  test("by whoever leaves the loop", async (context) => {
    const stalled = prompt("stall");
    let since = 0;
    for await (const { value } of step.stream(stalled)) {
      assert.equal(value, "Hello");
      since = performance.now();
      break;
    }
    await closed(stalled);
    context.diagnostic(`closed ${(performance.now() - since).toFixed(1)} ms after leaving the loop`);
  });

  test("by the end of a run that its function had started it in", async (context) => {
    const silent = prompt("silent");
    const ask = (content: string, { signal }: CallContext) => step.startAsync(content, { signal });
    const outer = steps.compose([ask]);
    const cancel = outer.startWithCallbacks(silent);
    await asked(silent);
    const since = performance.now();
    cancel();
    await closed(silent);
    context.diagnostic(`closed ${(performance.now() - since).toFixed(1)} ms after the outer run's cancel()`);
  });

  test("by an abort while the conversation is not there yet", async () => {
    const controller = new AbortController();
    const conversation = new Conversation();
    conversation.AddMessage("user", prompt("silent"));
    const running = step.startAsync(conversation, { signal: controller.signal });
    controller.abort();
    await assert.rejects(running, { name: "AbortError" });
  });
});
