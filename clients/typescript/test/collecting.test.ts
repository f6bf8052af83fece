import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, test } from "node:test";

import { client } from "./serve.ts";

const { steps } = client();

describe("many results", () => {
  const many = Array.from({ length: 10_001 }, (_, index) => index);

  test("are all returned, with how the run went", async () => {
    const step = steps.createMapStep(steps.javascript<number, number>("(x) => x"));
    for (const results of [await step.startAsync(many), step.startBlocking(many), await client().run(step, many)]) {
      assert.deepEqual([...results], many);
      assert.deepEqual([results.metadata.outputs, results.results.length], [10_001, 10_001]);
      assert.notEqual(results.runId, "");
    }
  });

  test("are all returned where they are large", async () => {
    const step = steps.createMapStep(steps.render("{{.}}".repeat(64)));
    const text = "x".repeat(16 * 1024);
    const results = await step.startAsync([text, text, text, text, text]);
    assert.deepEqual(results.map(({ length }) => length), Array(5).fill(2 ** 20));
  });

  test("stand in the order of their paths, though they come as they are made", async () => {
    const first = Promise.withResolvers<void>();
    const step = steps.createParallelStep({
      step: async (x: number) => {
        if (x === 0) await first.promise;
        else first.resolve();
        return x;
      },
      asCompleted: true,
    });
    const results = await step.startAsync([0, 1]);
    assert.deepEqual([[...results], results.results.map(({ path }) => path[0])], [[0, 1], [0, 1]]);
  });
});

test("a run that is left by a throw keeps no process", () => {
  const script = `import { connect } from "stepwire";
    const { steps } = connect(process.env.STEPWIRE_ADDRESS);
    const throwing = { onStart: () => { throw new Error("mine"); } };
    for (const step of [steps.named("upper"), steps.compose([(x) => x])]) {
      await steps.withEvents(step, throwing).startAsync("a").catch(({ message }) => console.log(message));
    }`;
  const options = { encoding: "utf8", timeout: 60_000 } as const; // far less than the time that the run has
  const { stdout, stderr, signal } = spawnSync(process.execPath, ["--input-type=module", "-e", script], options);
  assert.deepEqual([stdout, stderr, signal], ["mine\nmine\n", "", null]); // it has ended by itself
});
