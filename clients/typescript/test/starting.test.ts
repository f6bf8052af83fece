import type { MessageInitShape } from "@bufbuild/protobuf";
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setTimeout } from "node:timers/promises";
import { type CallContext, type Callbacks, StepwireError, type Step } from "stepwire";
import { ErrorMode, type RunInteractiveRequestSchema } from "stepwire/v1";

import { client, closed, prompt } from "./serve.ts";

const { steps } = client();

function refuseTwo(x: number): number {
  if (x === 2) throw new RangeError("no two");
  return x;
}

/** Starts a step with callbacks that write down what they hear, and waits until it is done. */
async function heard(step: Step, input: unknown, more: Callbacks<unknown> = {}): Promise<unknown[]> {
  const log: unknown[] = [];
  let isBusy = false;
  /** Notices if two overlap, though each takes its time. */
  const note = async (what: unknown) => {
    assert.ok(!isBusy, "two callbacks at once");
    isBusy = true;
    await new Promise((resolve) => setImmediate(resolve));
    log.push(what);
    isBusy = false;
  };
  await new Promise<void>((resolve) => {
    step.startWithCallbacks(input, {
      onResult: note,
      onError: (error) => note(error.message),
      onCancel: () => note("cancel"),
      onDone: () => note("done").then(resolve),
      ...more,
    });
  });
  return log;
}

/** A step that begins and then waits for ever; and promises that it has begun, and that it was told to end. */
function endless() {
  const begun = Promise.withResolvers<void>();
  const ended = Promise.withResolvers<void>();
  const step = steps.compose([
    (_: unknown, { signal }: CallContext) => {
      signal.addEventListener("abort", () => ended.resolve());
      begun.resolve();
      return new Promise(() => undefined);
    },
  ]);
  return { step, begun: begun.promise, ended: ended.promise };
}

describe("callbacks", () => {
  test("hear each result, each error in its place, and the end; never two at once", async () => {
    assert.deepEqual(await heard(steps.createMapStep(refuseTwo), [1, 2, 3]), [1, "no two", 3, "done"]);
  });

  test("hear the failure of the whole run, and the end", async () => {
    const [failure, done] = await heard(steps.compose(["nope"]), 1);
    assert.match(String(failure), /nope/);
    assert.equal(done, "done");
  });

  test("hear a cancel once, then the end, and nothing more", async () => {
    const log: unknown[] = [];
    const forEver = steps.compose([
      async function* () {
        for (let count = 0; ; count++) yield count;
      },
    ]);
    const done = Promise.withResolvers<void>();
    const cancel = forEver.startWithCallbacks(1, {
      onResult: (value) => {
        log.push(value);
        cancel();
        cancel();
      },
      onCancel: () => log.push("cancel"),
      onDone: () => {
        log.push("done");
        done.resolve();
      },
    });
    await done.promise;
    cancel();
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(log, [0, "cancel", "done"]);
  });

  test("hear a cancel that comes before anything", async () => {
    const log: string[] = [];
    await new Promise<void>((resolve) => {
      const cancel = steps.compose(["upper"]).startWithCallbacks("a", {
        onResult: () => log.push("result"),
        onCancel: () => log.push("cancel"),
        onDone: resolve,
      });
      cancel();
    });
    assert.deepEqual(log, ["cancel"]);
  });

  test("may be left out, all of them; what is no function is refused", () => {
    steps.compose([]).startWithCallbacks(1);
    assert.throws(() => steps.compose([]).startWithCallbacks(1, { onDone: "no" as never }), TypeError);
  });
});

describe("a signal", () => {
  test("ends a run and its functions, and the promise is rejected with an AbortError", async () => {
    const { step, begun, ended } = endless();
    const controller = new AbortController();
    const running = assert.rejects(step.startAsync(1, { signal: controller.signal }), { name: "AbortError" });
    await begun;
    controller.abort();
    controller.abort();
    await running;
    await ended;
  });

  test("that has aborted begins nothing", async () => {
    const { step } = endless();
    await assert.rejects(step.startAsync(1, { signal: AbortSignal.abort() }), { name: "AbortError" });
  });

  test("that never aborts changes nothing", async () => {
    const { signal } = new AbortController();
    assert.deepEqual(await steps.createMapStep(String).startAsync([1], { signal }), ["1"]);
  });

  test("of a function can be handed on to what it starts", async () => {
    const inner = endless();
    const outer = steps.compose([(x: unknown, { signal }: CallContext) => inner.step.startAsync(x, { signal })]);
    const cancel = outer.startWithCallbacks(1, {});
    await inner.begun;
    cancel();
    await inner.ended;
  });
});

describe("a stream of results", () => {
  test("ends the run and its functions when its reader leaves", async () => {
    let isClosed = false;
    const closed = Promise.withResolvers<void>();
    const forEver = steps.compose([
      async function* (_: unknown, { signal }: CallContext) {
        signal.addEventListener("abort", () => closed.resolve());
        try {
          for (;;) yield 1;
        } finally {
          isClosed = true;
        }
      },
    ]);
    for await (const { value } of forEver.stream()) {
      assert.equal(value, 1);
      break;
    }
    await closed.promise;
    while (!isClosed) await new Promise((resolve) => setImmediate(resolve));
  });

  test("has errors in their places", async () => {
    const results = await Array.fromAsync(steps.createMapStep(refuseTwo).stream([1, 2]));
    assert.deepEqual(results.map(({ value, error }) => error?.message ?? value), [1, "no two"]);
    const error = results[1]?.error;
    assert.ok(error instanceof StepwireError && error.cause instanceof RangeError);
    assert.deepEqual([error.reason, error.includes("two"), error.isTransient], ["STEP_EXECUTION_FAILED", true, false]);
  });
});

describe("a slow reader", () => {
  test("misses nothing of a run that calls functions", async () => {
    const values = [];
    for await (const { value } of steps.createMapStep((x: number) => x).stream([1, 2, 3])) {
      values.push(value);
      await setTimeout(20);
    }
    assert.deepEqual(values, [1, 2, 3]);
  });

  test("is told what the call failed with", async () => {
    const answers = Promise.withResolvers<string>();
    async function* requests(): AsyncGenerator<MessageInitShape<typeof RunInteractiveRequestSchema>> {
      const steps = [{ kind: { case: "client" as const, value: "f" } }];
      yield { kind: { case: "start", value: { steps, errorMode: ErrorMode.FAIL_FAST } } };
      const callId = await answers.promise;
      const output = { case: "output" as const, value: { kind: { case: "boolValue" as const, value: true } } };
      for (let count = 0; count < 3; count++) yield { kind: { case: "reply", value: { callId, kind: output } } };
      const error = { case: "error" as const, value: { message: "no", errorType: "Error" } };
      yield { kind: { case: "reply", value: { callId, kind: error } } };
      await setTimeout(60_000, undefined, { ref: false }); // and its half stays open
    }
    await assert.rejects(
      async () => {
        for await (const { kind } of client().services.stepRuns.runInteractive(requests())) {
          if (kind.case === "call") answers.resolve(kind.value.callId);
          await setTimeout(20);
        }
      },
      { reason: "STEP_EXECUTION_FAILED" },
    );
  });
});

describe("blocking", () => {
  test("returns the results, and calls functions meanwhile", () => {
    const double = steps.createMapStep((x: number) => x * 2);
    const results = double.startBlocking([1, 2, 3]);
    assert.deepEqual([results, results.metadata.outputs], [[2, 4, 6], 3]);
    assert.deepEqual(steps.createMapStep("upper").StartBlocking(["a"]), ["A"]);
    assert.deepEqual(steps.compose([() => double.startBlocking([4])]).startBlocking(), [[8]]);
  });

  test("takes generators, and ends one whose values nobody takes any more", () => {
    const count = function* (from: number) {
      for (let number = from; ; number++) yield number;
    };
    assert.deepEqual(steps.compose([count, steps.take(3)]).startBlocking(5), [5, 6, 7]);
  });

  test("tells events", () => {
    const log: unknown[] = [];
    const events = { onResult: (value: unknown) => log.push(value), onComplete: () => log.push("complete") };
    steps.withEvents(steps.createMapStep((x: number) => x), events).startBlocking([1, 2]);
    assert.deepEqual(log, [1, 2, "complete"]);
  });

  test("throws what failed, with its cause", () => {
    assert.throws(
      () => steps.createMapStep(refuseTwo).startBlocking([1, 2]),
      (error: StepwireError) => error.includes("no two") && error.cause instanceof RangeError,
    );
    assert.throws(() => steps.compose(["nope"]).startBlocking(), { reason: "STEP_GRAPH_INVALID" });
    assert.throws(() => steps.compose([() => 1, "nope"]).startBlocking(), { reason: "STEP_GRAPH_INVALID" });
    assert.throws(() => steps.timeout("upper", 0).startBlocking("a"), StepwireError);
  });

  test("says what to do where a function makes a promise", () => {
    assert.throws(() => steps.compose([async () => 1]).startBlocking(), /startAsync/);
    assert.throws(
      () =>
        steps
          .compose([
            async function* () {
              yield 1;
            },
          ])
          .startBlocking(),
      /startAsync/,
    );
  });

  test("keeps its time", async () => {
    for (const step of [steps.chat(), steps.compose([(text: string) => text, steps.chat()])]) {
      const silent = prompt("silent");
      assert.throws(() => step.startBlocking(silent, { timeoutMs: 300 }), { code: "DEADLINE_EXCEEDED" });
      await closed(silent);
    }
  });

  test("ends the run when a function of this program throws out of it", () => {
    const events = {
      onResult: () => {
        throw new Error("mine");
      },
    };
    assert.throws(
      () => steps.withEvents("upper", events).startBlocking("a"),
      (error) => error instanceof StepwireError && error.message === "mine" && error.cause instanceof Error,
    );
    assert.deepEqual(steps.compose(["upper"]).startBlocking("a"), ["A"]);
  });
});
