import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type CallContext, StepWorker, type WorkerSteps } from "stepwire";

import { address, client } from "./serve.ts";

const { steps } = client();

/** Waits until the server knows a worker for a step, or none any more. */
async function known(name: string, isKnown = true): Promise<void> {
  while ((await steps.list()).some((step) => step.name === name && step.workerCount > 0) !== isKnown) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Serves steps while something is done; at the end, drains the worker and waits for its end. */
async function serving(
  made: WorkerSteps,
  maxInFlight: number,
  act: (worker: StepWorker) => Promise<void>,
): Promise<void> {
  const worker = new StepWorker(address, made, { maxInFlight, name: "test" });
  const serving = worker.serve();
  try {
    await known(Object.keys(made).at(-1) ?? "");
    await act(worker);
  } finally {
    worker.drain();
    await serving;
  }
}

/** A name that no other test has. */
function unique(name: string): string {
  return `${name}-${crypto.randomUUID()}`;
}

describe("a worker", () => {
  test("serves its steps to runs of others", async () => {
    const [shout, count] = [unique("shout"), unique("count")];
    const made: WorkerSteps = {
      [shout]: {
        run: (text: string) => `${text.toUpperCase()}!`,
        version: "2",
        description: "The text, louder.",
        inputSchema: { type: "string" },
        outputSchema: { type: "string" },
      },
      [count]: function* (limit: number) {
        for (let number = 0; number < limit; number++) yield number;
      },
    };
    await serving(made, 4, async () => {
      assert.deepEqual(await steps.createMapStep(shout).startAsync(["a", "b"]), ["A!", "B!"]);
      assert.deepEqual(await steps.compose([count, (x: number) => x * 2]).startAsync(3), [0, 2, 4]);
      await assert.rejects(steps.named(shout).startAsync(["a"]), { reason: "STEP_INPUT_INVALID" });
      const info = (await steps.list()).find(({ name }) => name === shout);
      assert.deepEqual([info?.version, info?.description, info?.provider], ["2", "The text, louder.", "worker"]);
    });
  });

  test("works side by side as far as it has room, and is told of cancels", async () => {
    const [meet, wait] = [unique("meet"), unique("wait")];
    const waiting: (() => void)[] = [];
    const begun = Promise.withResolvers<void>();
    const ended = Promise.withResolvers<void>();
    const made: WorkerSteps = {
      [meet]: (x: number) =>
        new Promise((resolve) => {
          waiting.push(() => resolve(x));
          if (waiting.length === 3) for (const go of waiting) go();
        }),
      [wait]: (_: unknown, { signal }: CallContext) => {
        signal.addEventListener("abort", () => ended.resolve());
        begun.resolve();
        return new Promise(() => undefined);
      },
    };
    await serving(made, 3, async () => {
      assert.deepEqual(await steps.createParallelStep({ step: meet }).startAsync([1, 2, 3]), [1, 2, 3]);
      const cancel = steps.named(wait).startWithCallbacks(null);
      await begun.promise;
      cancel();
      await ended.promise;
    });
  });

  test("that is drained answers what is open and takes no more", async () => {
    const late = unique("late");
    const begun = Promise.withResolvers<void>();
    const release = Promise.withResolvers<number>();
    const made = {
      [late]: () => {
        begun.resolve();
        return release.promise;
      },
    };
    await serving(made, 2, async (worker) => {
      const running = steps.named(late).startAsync();
      await begun.promise;
      worker.drain();
      await known(late, false);
      release.resolve(7);
      assert.deepEqual(await running, [7]);
    });
  });

  test("that is closed ends at once, with what is open", async () => {
    const stuck = unique("stuck");
    const begun = Promise.withResolvers<CallContext>();
    const made = {
      [stuck]: (_: unknown, context: CallContext) => {
        begun.resolve(context);
        return new Promise(() => undefined);
      },
    };
    await serving(made, 1, async (worker) => {
      const controller = new AbortController(); // the server would wait for another worker
      const started = steps.named(stuck).startAsync(null, { signal: controller.signal });
      const running = assert.rejects(started, { name: "AbortError" });
      const { signal } = await begun.promise;
      worker.close();
      await known(stuck, false);
      assert.ok(signal.aborted);
      controller.abort();
      await running;
    });
  });

  test("tells why the server does not take its steps", async () => {
    await assert.rejects(new StepWorker(address, { upper: () => 1 }).serve(), { reason: "STEP_EXISTS" });
    await assert.rejects(new StepWorker(client(), { "no name": () => 1 }).serve(), { code: "INVALID_ARGUMENT" });
    assert.throws(() => new StepWorker(address, { none: {} as never }), TypeError);
  });

  test("that was drained before it began serves nothing", async () => {
    const worker = new StepWorker(address, { [unique("never")]: () => 1 });
    worker.drain();
    await worker.serve();
  });

  test("tries again where there is no server, until it is drained", async () => {
    const told = Promise.withResolvers<string | undefined>();
    const worker = new StepWorker("127.0.0.1:1", { x: () => 1 }, { onDisconnect: (why) => told.resolve(why?.code) });
    const serving = worker.serve();
    assert.equal(await told.promise, "UNAVAILABLE");
    worker.drain();
    await serving;
  });
});
