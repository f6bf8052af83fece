import { create } from "@bufbuild/protobuf";
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Events } from "stepwire";
import { type RunStepResponse, RunStepResponseSchema, StageEventKind, StepSchema } from "stepwire/v1";

import { Functions } from "../dist/functions/functions.js";
import { locate, mark, Watching } from "../dist/steps/watching.js";
import { client } from "./serve.ts";

const { steps } = client();

function refuseTwo(x: number): number {
  if (x === 2) throw new RangeError("no two");
  return x;
}

/** Functions that write down what they are told. */
function logging(log: unknown[]): Events {
  return {
    onResult: (value) => log.push(value),
    onComplete: () => log.push("complete"),
    onError: (error) => log.push(error.message),
  };
}

describe("of the step that is run itself", () => {
  test("every value is told, then the end, however many and quick they are", async () => {
    const many = Array.from({ length: 4_000 }, (_, index) => index);
    const log: unknown[] = [];
    const step = steps.withEvents(steps.createMapStep(steps.javascript("(x) => x")), logging(log));
    await step.startAsync(many);
    assert.deepEqual(log, [...many, "complete"]);
    log.length = 0;
    step.startBlocking(many);
    assert.deepEqual(log, [...many, "complete"]);
  });

  test("values are told whole, be they large or vectors", async () => {
    const log: unknown[] = [];
    const text = "x".repeat(10_000);
    const [vector] = await steps.withEvents(steps.embed(), { onResult: (value) => log.push(value) }).startAsync("a");
    await steps.withEvents(steps.compose([]), { onResult: (value) => log.push(value) }).startAsync(text);
    assert.deepEqual(log, [vector, text]);
  });

  test("each error is told once, in its place, and the end after it", async () => {
    const log: unknown[] = [];
    const step = steps.withEvents(steps.createMapStep(refuseTwo), logging(log));
    await Array.fromAsync(step.stream([1, 2, 3]));
    assert.deepEqual(log, [1, "no two", 3, "complete"]);
    for (const run of [() => step.startAsync([2]), async () => step.startBlocking([2])]) {
      log.length = 0;
      await assert.rejects(run, { message: "no two" });
      assert.deepEqual(log, ["no two", "complete"]);
    }
  });

  test("no error is told that is of no item", async () => {
    const log: unknown[] = [];
    const step = steps.withEvents(steps.createMapStep(refuseTwo), logging(log));
    await assert.rejects(step.startAsync([1], { signal: AbortSignal.abort() }));
    await assert.rejects(step.startAsync(7)); // no list: an item after all
    assert.equal(log.length, 2);
    assert.equal(log[1], "complete");
  });
});

test("the end is told once of each step of a run that ends with its first error", async () => {
  for (const watched of [refuseTwo, steps.createMapStep(refuseTwo)] as const) {
    const input = watched === refuseTwo ? 2 : [2];
    const [outer, inner, never] = [[], [], []] as [unknown[], unknown[], unknown[]];
    const within = steps.withEvents<unknown, unknown>(watched as never, logging(inner));
    const behind = steps.withEvents((x: unknown) => x, logging(never));
    const step = steps.withEvents(steps.compose<unknown, unknown>([within, behind]), logging(outer));
    for (const run of [() => step.startAsync(input), async () => step.startBlocking(input)]) {
      for (const log of [outer, inner, never]) log.length = 0;
      await assert.rejects(run, { message: "no two" });
      assert.deepEqual([outer, inner, never], [["no two", "complete"], ["no two", "complete"], ["complete"]]);
    }
  }
});

test("those who watch are told how many events were lost", () => {
  const log: unknown[] = [];
  const functions = new Functions();
  const step = mark(create(StepSchema), functions, {
    onStart: (input) => log.push(input),
    onDropped: (count) => log.push(`${count} lost`),
  });
  locate([step], functions);
  const watching = new Watching(functions.watchers, [step]);
  const started = (droppedBefore: number): RunStepResponse =>
    create(RunStepResponseSchema, {
      event: {
        case: "stage",
        value: {
          stepPath: "steps[0]",
          kind: StageEventKind.STARTED,
          value: { kind: { case: "stringValue", value: "x" } },
          droppedBefore,
        },
      },
    });
  for (const [callback, given] of [...watching.hear(started(0)), ...watching.hear(started(7))]) callback(given);
  assert.deepEqual(log, ["x", "7 lost", "x"]);
});
