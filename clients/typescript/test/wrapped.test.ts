import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type ChatInput, type KeepsMessages, StepwireError } from "stepwire";

import { client } from "./serve.ts";

const made = client();
const { ChatStepFactory, Conversation, steps } = made;
const factory = new ChatStepFactory();
const chat = factory.newStep();

function saying(text: string): InstanceType<typeof Conversation> {
  const conversation = new Conversation();
  conversation.AddMessage("system", "Be brief.");
  conversation.AddMessage("user", `say ${text}`);
  return conversation;
}

describe("a conversation is taken", () => {
  for (const [name, step] of Object.entries({
    withRetry: steps.withRetry(chat),
    withEvents: steps.withEvents(chat, {}),
    with: chat.with({ name: "mine" }),
    compose: steps.compose<ChatInput>([chat]),
    createStep: steps.createStep<ChatInput>({ process: chat }),
    RegisterStep: steps.RegisterStep<ChatInput>("talk", chat),
    timeout: steps.timeout<ChatInput>(chat, 60_000),
  })) {
    test(`by a chat step within ${name}`, async () => {
      assert.deepEqual(await step.startAsync(saying("one two")), ["one two "]);
      assert.deepEqual(step.startBlocking(saying("one two")), ["one two "]);
      const results: unknown[] = [];
      await new Promise<void>((resolve) => {
        step.startWithCallbacks(saying("one two"), {
          onResult: (text) => results.push(text),
          onError: (error) => results.push(error.message),
          onDone: () => resolve(),
        });
      });
      assert.deepEqual(results, ["one two "]);
    });
  }

  test("by a chat of the server's, and by whoever runs steps", async () => {
    const [message] = await steps.chat<KeepsMessages, { text: string }>().startAsync(saying("one"));
    assert.equal(message?.text, "one ");
    assert.deepEqual(await made.run(chat, saying("one")), ["one "]);
  });

  test("in lists, and of functions of this program", async () => {
    const parallel = steps.createParallelStep<KeepsMessages>({ step: chat });
    assert.deepEqual(await parallel.startAsync([saying("one"), saying("two")]), ["one ", "two "]);
    assert.deepEqual(await steps.createMapStep(chat).startAsync([saying("one")]), ["one "]);
    const asking = steps.compose<string, string>([(text: string) => saying(text), chat]);
    assert.deepEqual(await asking.startAsync("one"), ["one "]);
    assert.deepEqual(asking.startBlocking("one"), ["one "]);
    const several = function* (): Generator<KeepsMessages> {
      yield saying("one");
      yield saying("two");
    };
    assert.deepEqual(await steps.compose([several, chat]).startAsync(1), ["one ", "two "]);
  });

  test("as it was when the step was started", async () => {
    const conversation = saying("one");
    const step = steps.withRetry(chat);
    const running = step.startAsync(conversation);
    const streamed = Array.fromAsync(step.stream(conversation), ({ value }) => value);
    conversation.AddMessage("user", "say two");
    conversation.GetMessages();
    assert.deepEqual([await running, await streamed], [["one "], ["one "]]);
  });

  test("with its refusals, and ended by a signal", async () => {
    const conversation = saying("one");
    conversation.AddMessage("banana", "x");
    await assert.rejects(steps.withRetry(chat).startAsync(conversation), { reason: "INVALID_MESSAGE" });
    const { signal } = new AbortController();
    await steps.withRetry(chat).startAsync(conversation, { signal });
    const aborted = steps.withRetry(chat).startAsync(conversation, { signal: AbortSignal.abort() });
    await assert.rejects(aborted, { name: "AbortError" });
  });

  test("but not where a value is no input", () => {
    assert.throws(() => steps.withState({ initialState: saying("one"), step: () => 1 }), StepwireError);
  });
});

describe("an input", () => {
  test("is taken as it is when the step is started, in each way", async () => {
    const input = [1, 2];
    const step = steps.compose<number[], string>([(given: number[]) => given.join()]);
    const running = step.startAsync(input);
    const streamed = Array.fromAsync(step.stream(input), ({ value }) => value);
    const told = new Promise<unknown>((resolve) => step.startWithCallbacks(input, { onResult: resolve }));
    input.push(3);
    assert.deepEqual([await running, await streamed, await told], [["1,2"], ["1,2"], "1,2"]);
  });
});

describe("a restart, of which nothing here would tell", () => {
  const refused = (error: unknown) => error instanceof StepwireError && /begins again/.test(error.message);
  const restarting = { retry: { step: { named: "upper" }, emitted: "RETRY_EMITTED_RESTART" } };

  test("is refused in a retry, watched or not", async () => {
    for (const step of [steps.compose([restarting]), steps.withEvents(restarting, {})]) {
      await assert.rejects(step.startAsync("a"), refused);
      assert.throws(() => step.startBlocking("a"), refused);
      await assert.rejects(Array.fromAsync(step.stream("a")), refused);
      assert.ok(refused(await new Promise((resolve) => step.startWithCallbacks("a", { onError: resolve }))));
    }
    assert.throws(() => steps.withRetry("upper", { emitted: "restart" as never }), refused);
  });

  test("is refused in pieces of a chat, and not in whole messages", async () => {
    for (const options of [{ restart: true }, { responseFormat: { retry: true } }]) {
      const pieces = steps.chat({ emit: "deltas", options: options as never });
      await assert.rejects(steps.withEvents(pieces, {}).startAsync("say a"), refused);
      await assert.rejects(pieces.startAsync("say a"), refused);
    }
    const [message] = await steps.chat({ options: { restart: true } }).startAsync("say a");
    assert.equal(message.text, "a ");
  });

  test("is refused in a step of the factory, by its options and by its input", async () => {
    assert.throws(() => factory.newStep([{ restart: true }]), refused);
    assert.throws(() => factory.newStep([{ options: { restart: true } }]), refused);
    assert.throws(() => factory.newStep([{ responseFormat: { retry: true } }]), refused);
    await assert.rejects(factory.newStep().startAsync({ prompt: "say a", restart: true }), refused);
    const step = factory.newStep();
    const error = new Promise((resolve) => {
      step.startWithCallbacks({ prompt: "say a", restart: true }, { onError: resolve });
    });
    assert.ok(refused(await error));
  });
});

describe("a step that is watched", () => {
  test("stays so under another name, within others and twice", async () => {
    const log: string[] = [];
    const events = (who: string) => ({
      onStart: () => log.push(`${who} start`),
      onResult: () => log.push(`${who} result`),
      onComplete: () => log.push(`${who} complete`),
    });
    const inner = steps.withEvents("upper", events("inner"));
    const step = steps.withEvents(steps.compose([inner.with({ name: "renamed" })]).with({ name: "all" }), events("outer"));
    const { metadata } = await step.with({ labels: { a: "b" } }).startAsync("a");
    assert.deepEqual([metadata.steps[0]?.name, metadata.steps[0]?.labels], ["all", { a: "b" }]);
    assert.deepEqual(log.toSorted(), [
      ...["inner complete", "inner result", "inner start", "outer complete", "outer result", "outer start"],
    ]);
    const both = steps.compose([inner, inner]);
    log.length = 0;
    await both.startAsync("a");
    assert.equal(log.filter((each) => each === "inner start").length, 2);
  });

  test("is written for the wire with its own name", () => {
    assert.equal(steps.withEvents("upper", {}).toProto().name, "");
    assert.equal(steps.withEvents(steps.named("upper").with({ name: "mine" }), {}).toProto().name, "mine");
  });

  test("hands every error on as one of ours", async () => {
    const events = {
      onStart: () => {
        throw new TypeError("mine");
      },
    };
    const step = steps.withEvents(steps.compose([(x: number) => x]), events);
    const ours = (error: unknown) =>
      error instanceof StepwireError &&
      error.includes("mine") &&
      error.reason === "" &&
      error.name === "StepwireError" &&
      error.cause instanceof TypeError;
    await assert.rejects(step.startAsync(1), ours);
    assert.throws(() => step.startBlocking(1), ours);
    await assert.rejects(Array.fromAsync(step.stream(1)), ours);
    assert.ok(ours(await new Promise((resolve) => step.startWithCallbacks(1, { onError: resolve }))));
  });
});

describe("a generator", () => {
  test("may yield without end: what it gave is forgotten", async () => {
    const { setFlagsFromString } = await import("node:v8");
    const { runInNewContext } = await import("node:vm");
    setFlagsFromString("--expose-gc");
    const collect = runInNewContext("gc") as () => void;
    const used = (): number => {
      collect();
      return process.memoryUsage().heapUsed;
    };
    let growth = 0;
    const yielding = async function* (): AsyncGenerator<unknown> {
      const before = used();
      for (let index = 0; index < 1500; index++) yield Array.from({ length: 500 }, (_, at) => `${index}-${at}-some-text`);
      growth = used() - before;
    };
    await new Promise<void>((resolve) => {
      steps.compose([yielding]).startWithCallbacks(1, { onDone: () => resolve() });
    });
    assert.ok(growth < 20e6, `${growth} bytes`); // of 37e6 that were given
  });
});
