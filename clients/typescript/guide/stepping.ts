/** The blocks on steps. */

import assert from "node:assert/strict";

import { type Block, run } from "./blocks.ts";
import { type Any, asItStands, type Case, twice } from "./common.ts";
import type { World } from "./world.ts";

/** A step, and what it is given where the guide only says `step` and `input`. */
function doubling(world: World): Any {
  const step = world.client.steps.createMapStep((x: number) => x * 2);
  return { step, operation: step, input: [1, 2, 3] };
}

/** The operations that the guide calls `api`. */
function api(world: World): Any {
  const { step, input } = doubling(world);
  const made = {
    operationAsync: step.startAsync,
    operationBlocking: step.startBlocking,
    operationWithCallbacks: step.startWithCallbacks,
  };
  return { api: made, input };
}

const patterns: Case = async (block, world) => {
  await assert.rejects(run(block.source, world.scope(api(world))), SyntaxError);
  const forms = block.source.split(/\n(?=\/\/)/);
  assert.equal(forms.length, 3);
  const came = [];
  for (const form of forms) came.push(await run(form, world.scope(api(world))));
  const [promised, blocked, cancellable] = came;
  assert.deepEqual([promised?.["result"], blocked?.["result"]], [[2, 4, 6], [2, 4, 6]]);
  assert.equal(typeof cancellable?.["cancel"], "function");
  return "no JavaScript as it stands: `result` is declared twice; ran in its three parts";
};

const many: Case = async (block, world) => {
  await asItStands(block, world);
  await world.until(() => world.printed.length === 3);
  assert.deepEqual(world.printed, [[2], [4], [6]]);
  return "ran";
};

const pipeline: Case = async (block, world) => {
  const { steps, embeddings } = world.client;
  const documents = ["A cat sleeps on the sofa.", "The market fell on Monday."];
  const nearest = async function* (vector: number[]) {
    const rank = async (text: string) => {
      const other = await embeddings.generateEmbeddingAsync(text);
      return { text, score: other.reduce((sum, each, place) => sum + each * (vector[place] ?? 0), 0) };
    };
    const ranked = await Promise.all(documents.map(rank));
    for (const { text } of ranked.sort((one, other) => other.score - one.score)) yield text;
  };
  let summarized = "";
  const llm = world.chatStep();
  const llmStep = {
    startAsync: (input: Any) => {
      summarized = input.messages[0].content;
      return llm.startAsync(input);
    },
  };
  const more = { embedStep: steps.embed(), searchStep: steps.compose([nearest]), llmStep };
  const { pipeline } = (await asItStands(block, world, more)) as Any;
  const [reply] = await pipeline.startAsync("Where is the kitten?");
  assert.equal(summarized, `Summarize these documents: ${documents.join("\n")}`);
  assert.ok(reply[0].length > 0);
  return "ran, and the pipeline on the local models";
};

const promised: Case = async (block, world) => {
  await asItStands(block, world, doubling(world));
  assert.deepEqual(world.printed, [["Promise created"], ["Results:", [2, 4, 6]]]);
  return "ran";
};

const blocking: Case = async (block, world) => {
  await asItStands(block, world, doubling(world));
  assert.deepEqual(world.printed, [["Results:", [2, 4, 6]]]);
  return "ran";
};

const streaming: Case = async (block) => {
  await twice(async (world, isSoon) => {
    await asItStands(block, world, doubling(world));
    if (isSoon) world.later();
    await world.until(() => world.hasPrinted("Processing complete"));
    world.later();
    const last = isSoon ? ["Operation cancelled"] : ["Got result:", 6];
    assert.deepEqual(world.printed.slice(-2), [last, ["Processing complete"]]);
  });
  return "ran, with the clock of 5 s going off when all was over, and at once: cancelled, then complete";
};

const cancelling: Case = async (block, world) => {
  const callbacks = { onCancel: () => world.printed.push(["cancel"]), onDone: () => world.printed.push(["done"]) };
  const { promise } = (await asItStands(block, world, { ...doubling(world), callbacks })) as Any;
  // An async function hands on what a promise comes to only if it is returned by itself.
  await assert.rejects(promise, { name: "AbortError" });
  await world.until(() => world.printed.length === 2);
  assert.deepEqual(world.printed, [["cancel"], ["done"]]);
  return "ran; the promise is rejected with an AbortError";
};

const metadata: Case = async (block, world) => {
  await asItStands(block, world, doubling(world));
  const [[printed]] = world.printed as Any;
  assert.deepEqual([printed.outcome, printed.outputs], ["completed", 3]);
  return "ran";
};

const factory: Case = async (block, world) => {
  await assert.rejects(run(block.source, world.scope()), SyntaxError);
  const whole = block.source.replace("/* process */", "/* process */ text.length");
  const { textStep } = (await run(whole, world.scope())) as Any;
  assert.deepEqual(await textStep.startAsync("ABC"), ["3"]);
  return "no JavaScript as it stands: a comment is the whole of `process`; ran with `text.length` behind it";
};

const events: Case = async (block, world) => {
  const { monitoredStep } = (await asItStands(block, world, doubling(world))) as Any;
  await monitoredStep.startAsync([1, 2]);
  const all = [["Starting with:", [1, 2]], ["Produced:", 2], ["Produced:", 4], ["Step completed"]];
  assert.deepEqual(world.printed, all);
  return "ran, and the step it makes";
};

const parallel: Case = async (block, world) => {
  const processingStep = (x: number) => new Promise((resolve) => setTimeout(() => resolve(x * 10), 5 - x));
  const { results } = (await asItStands(block, world, { processingStep, inputs: [1, 2, 3, 4] })) as Any;
  assert.deepEqual(results, [10, 20, 30, 40]);
  return "ran";
};

const retry: Case = async (block, world) => {
  let tries = 0;
  const step = (x: string) => {
    tries += 1;
    if (tries < 2) throw Object.assign(new Error("down"), { isTransient: true });
    return x;
  };
  const { robustStep } = (await asItStands(block, world, { step })) as Any;
  assert.deepEqual([await robustStep.startAsync("ok"), tries], [["ok"], 2]);
  return "ran, and the step it makes: one failure, one wait of a second";
};

const state: Case = async (block, world) => {
  const processWithState = (input: string, { count }: { count: number }) => `${input}${count}`;
  const { statefulStep } = (await asItStands(block, world, { processWithState })) as Any;
  const { steps } = world.client;
  assert.deepEqual(await steps.compose([steps.spread(), statefulStep]).startAsync(["a", "b"]), ["a1", "b2"]);
  return "ran, and the step it makes";
};

const cleaning: Case = async (block, world) => {
  let unload: () => void = () => undefined;
  const window = { addEventListener: (_: string, listener: () => void) => (unload = listener) };
  const callbacks = { onCancel: () => world.printed.push(["cancel"]), onDone: () => world.printed.push(["done"]) };
  await asItStands(block, world, { ...doubling(world), window, callbacks });
  unload();
  await world.until(() => world.printed.length === 2);
  assert.deepEqual(world.printed, [["cancel"], ["done"]]);
  return "ran, and the page was left";
};

const handling: Case = async (block, world) => {
  await asItStands(block, world, api(world));
  const failing = { operationAsync: world.client.steps.compose(["nope"]).startAsync };
  await asItStands(block, world, { api: failing, input: 1 });
  assert.equal(world.printed[0]?.[0], "Operation failed:");
  return "ran, with an operation that succeeds and one that fails";
};

const performance: Case = async (block, world) => {
  const chunks: unknown[] = [];
  const more = {
    ...api(world),
    inputs: [[1], [2]],
    largeInput: [3, 4, 5],
    processChunk: (chunk: unknown) => chunks.push(chunk),
    finalizeResults: () => chunks.push("final"),
  };
  const { results } = (await asItStands(block, world, more)) as Any;
  await world.until(() => chunks.includes("final"));
  assert.deepEqual([results, chunks], [[[2], [4]], [6, 8, 10, "final"]]);
  return "ran";
};

const memory: Case = async (block, world) => {
  const { memoryPerEmbedding, promise } = (await asItStands(block, world, api(world))) as Any;
  assert.deepEqual([memoryPerEmbedding, await promise], [1536, [2, 4, 6]]);
  return "ran";
};

/** By the blocks' numbers. */
export const STEPPING: Readonly<Record<Block["number"], Case>> = {
  1: patterns,
  17: many,
  18: pipeline,
  19: promised,
  20: blocking,
  21: streaming,
  22: pipeline,
  23: cancelling,
  24: metadata,
  25: factory,
  26: events,
  27: parallel,
  28: retry,
  29: state,
  39: cleaning,
  40: handling,
  41: performance,
  42: memory,
};
