import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { type RunResults, StepwireError, type Step } from "stepwire";

import { client } from "./serve.ts";

const { steps } = client();
const double = steps.createMapStep((x: number) => x * 2);

/** Fails for 2. */
function refuseTwo(x: number): number {
  if (x === 2) throw new RangeError("no two");
  return x;
}

describe("steps", () => {
  test("map over a list, one result for each item", async () => {
    const results: RunResults<number> = await double.startAsync([1, 2, 3]);
    assert.deepEqual(results, [2, 4, 6]);
    assert.deepEqual(results.results.map(({ path }) => path), [[0], [1], [2]]);
    assert.deepEqual(await double.startAsync([]), []);
  });

  test("tell how they went, beside a list that prints and compares as a list", async () => {
    const results = await double.startAsync([1, 2]);
    const { outcome, outputs, durationMs, startTime, steps: inner } = results.metadata;
    assert.deepEqual([outcome, outputs, inner[0]?.type], ["completed", 2, "map"]);
    assert.ok(durationMs >= 0 && startTime instanceof Date);
    assert.match(results.runId, /^[0-9a-f-]{36}$/);
    assert.deepEqual(Object.keys(results), ["0", "1"]);
  });

  test("compose: a list that a function returns stays one value", async () => {
    const piped = steps.compose([(x: number) => [x, x], double, steps.gather(), (all: number[]) => all.join("+")]);
    assert.deepEqual(await piped.startAsync(4), ["8+8"]);
    assert.deepEqual(await steps.compose([]).startAsync("as it is"), ["as it is"]);
  });

  test("take functions that start other steps", async () => {
    const piped = steps.compose([(x: number) => double.startAsync([x, x + 1]), (found: number[]) => found]);
    assert.deepEqual(await piped.startAsync(1), [[2, 4]]);
    assert.deepEqual(await steps.compose([steps.named("upper").startAsync]).startAsync("handed on"), [["HANDED ON"]]);
  });

  test("are made of what comes before, of the work and of what comes after", async () => {
    const options = {
      input: (text: string) => text.toLowerCase(),
      process: async (text: string) => text.length,
      output: (length: number) => `${length}`,
    };
    assert.deepEqual(await steps.createStep(options).startAsync("ABC"), ["3"]);
    assert.deepEqual(await steps.createStep({ output: "upper" }).startAsync("a"), ["A"]);
  });

  test("work side by side, and give results in the order of the items", async () => {
    const waiting: (() => void)[] = [];
    const meet = (x: number) =>
      new Promise<number>((resolve) => {
        waiting.push(() => resolve(x * 10));
        if (waiting.length === 3) for (const go of waiting.reverse()) go();
      });
    const beside = steps.createParallelStep({ maxConcurrency: 3, step: meet });
    assert.deepEqual(await beside.startAsync([1, 2, 3]), [10, 20, 30]);
  });

  test("are tried again as their functions say", async () => {
    const asked: unknown[] = [];
    let tries = 0;
    const flaky = (x: string) => {
      tries += 1;
      if (tries < 3) throw Object.assign(new Error(`down ${tries}`), { isTransient: true });
      return x;
    };
    const robust = steps.withRetry<string, string>(flaky, {
      maxAttempts: 3,
      backoff: (attempt) => 2 ** attempt,
      shouldRetry: (error, attempt) => {
        asked.push([attempt, error.message, (error.cause as Error).message]);
        return error.isTransient;
      },
    });
    assert.deepEqual(await robust.startAsync("ok"), ["ok"]);
    assert.deepEqual(asked, [
      [1, "down 1", "down 1"],
      [2, "down 2", "down 2"],
    ]);
    const once = steps.withRetry(refuseTwo, { shouldRetry: (error) => error.isTransient });
    await assert.rejects(once.startAsync(2), /no two/);
  });

  test("keep a state, which a function may change or replace", async () => {
    const initialState = { count: 0 };
    const counting = steps.withState({
      initialState,
      step: (x: string, state: { count: number }) => {
        if (x === "b") throw new Error("not b");
        state.count++;
        return `${x}${state.count}`;
      },
    });
    const values = [];
    for await (const { value, error } of steps.compose([steps.spread(), counting]).stream(["a", "b", "c"])) {
      values.push(error?.message ?? value);
    }
    assert.deepEqual(values, ["a1", "not b", "c2"]);
    assert.equal(initialState.count, 0);
    const add = (x: number, sum: number) => ({ output: x + sum, state: x + sum });
    const sums = steps.withState({ initialState: 0, step: add });
    assert.deepEqual(await steps.compose([steps.spread(), sums]).startAsync([1, 2, 3]), [1, 3, 6]);
  });

  test("tell what happens at them", async () => {
    const log: unknown[] = [];
    const watched = steps.withEvents(steps.createMapStep(refuseTwo), {
      onStart: (input) => log.push(input),
      onResult: (value) => log.push(value),
      onComplete: () => log.push("complete"),
      onError: (error) => log.push(error.message),
    });
    await Array.fromAsync(steps.compose([watched, (x: number) => x]).stream([1, 2, 3]));
    assert.deepEqual(log, [[1, 2, 3], 1, "no two", 3, "complete"]);
  });

  test("tell of an error only when no retry has mended it", async () => {
    const told: string[] = [];
    let tries = 0;
    const flaky = () => {
      tries += 1;
      if (tries === 1) throw Object.assign(new Error("passing"), { isTransient: true });
      return "ok";
    };
    const mended = steps.withRetry(flaky, { backoff: () => 0 });
    const events = { onError: (error: Error) => told.push(error.message) };
    assert.deepEqual(await steps.withEvents(mended, events).startAsync(), ["ok"]);
    await assert.rejects(steps.withEvents(steps.withRetry(refuseTwo), events).startAsync(2));
    assert.deepEqual(told, ["no two"]);
  });

  test("are kept under names, with converters", async () => {
    const made: Step = steps.RegisterStep("tens", (x: number) => x * 10, Number, String);
    assert.deepEqual(await made.startAsync("4"), ["40"]);
    assert.deepEqual(await (steps as unknown as { tens: Step }).tens.StartAsync("5"), ["50"]);
    assert.equal(steps.registered["tens"], made);
    assert.throws(() => steps.registerStep("compose", "upper"), TypeError);
  });

  test("of the server are named, listed and checked", async () => {
    assert.deepEqual(await steps.createMapStep("upper").startAsync(["a"]), ["A"]);
    assert.deepEqual(await steps.createMapStep({ javascript: "(x) => x + 1" }).startAsync([1]), [2]);
    assert.ok((await steps.list()).some(({ name }) => name === "upper"));
    assert.deepEqual(await steps.validate(steps.compose(["upper", (x: string) => x])), []);
    assert.equal((await steps.validate({ map: {} }))[0]?.field, "steps[0].map.step");
    await assert.rejects(steps.compose(["nope"]).startAsync(), { reason: "STEP_GRAPH_INVALID" });
    assert.throws(() => steps.compose([{ nope: 1 }]).toProto(), StepwireError);
  });

  test("choose, filter, take, spread, limit and render", async () => {
    const sign = steps.choice([{ when: (x: number) => x > 0, then: () => "+" }], () => "-");
    const piped = steps.compose([steps.spread(), steps.filter((x: number) => x), sign, steps.take(2)]);
    assert.deepEqual(await piped.startAsync([0, 5, 0, -5, 7]), ["+", "-"]);
    assert.deepEqual(await steps.render("Hello {{name}}").startAsync({ name: "Mia" }), ["Hello Mia"]);
    const slow = steps.timeout(() => new Promise(() => undefined), 30);
    await assert.rejects(slow.startAsync(), { reason: "STEP_TIMEOUT" });
  });

  test("make vectors and rank documents", async () => {
    const [vector] = await steps.embed("vectors").startAsync("four");
    assert.deepEqual(vector, Float32Array.of(4, 0, 0));
    const hits = await steps.search(1, "vectors").startAsync({ query: "ab", documents: ["a", "b"] });
    assert.deepEqual(hits.map(({ index, text }) => [index, text]), [[0, "a"]]);
  });

  test("carry settings", async () => {
    const named = steps.function((x: number) => x).with({ name: "mine", labels: { team: "a" } });
    const { metadata } = await steps.compose([named]).startAsync(1);
    assert.deepEqual([metadata.steps[0]?.steps[0]?.name, metadata.steps[0]?.steps[0]?.labels], ["mine", { team: "a" }]);
  });

  test("refuse options that there are not, and values that are no JSON", async () => {
    const misspelt = { maxconcurrency: 3, step: refuseTwo };
    assert.throws(() => steps.createParallelStep(misspelt), /`maxconcurrency` is no option/);
    await assert.rejects(double.startAsync([Number.NaN]), { reason: "FIELD_INVALID" });
    await assert.rejects(steps.compose([() => () => 1]).startAsync(), /a function is not JSON/);
    await assert.rejects(steps.compose(["upper"]).startAsync("\ud800"), /half a surrogate pair/);
    const sent = { list: Float32Array.of(1, 2), at: new Date(0), none: undefined, ["__proto__x"]: 1 };
    const came = [{ list: [1, 2], at: "1970-01-01T00:00:00.000Z", ["__proto__x"]: 1 }];
    assert.deepEqual(await steps.compose([]).startAsync(sent), came);
  });
});
