import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { describe, test } from "node:test";

import { address, prompt } from "./serve.ts";

const DIES = new URL("./threads/dies.mjs", import.meta.url).href;

/** Runs a program whose thread for blocking calls dies; what it prints. */
async function printed(way: string, script: string): Promise<string> {
  const process_ = spawn(process.execPath, ["--input-type=module", "-e", script], {
    env: { ...process.env, NODE_OPTIONS: `--import=${DIES} --max-old-space-size=48`, DIES: way },
    stdio: ["ignore", "pipe", "inherit"],
    timeout: 120_000,
  });
  let said = "";
  for await (const chunk of process_.stdout) said += chunk;
  return said.trim();
}

const CALL = `import { connect } from "stepwire";
  const client = connect("${address}");
  const caught = (act) => { try { return act(); } catch (error) { return [error.name, error.code, error.message].join(); } };
  const step = new client.ChatStepFactory().newStep();
  `;

const ENDED = /^StepwireError,INTERNAL,the thread that makes the calls ended/;

describe("a thread that dies while it is waited for", { concurrency: true }, () => {
  for (const way of ["throws", "exits"]) {
    test(`ends the call: it ${way}`, async () => {
      const said = await printed(way, `${CALL}console.log(caught(() => step.startBlocking("${prompt("silent")}")));`);
      assert.match(said, ENDED);
    });
  }

  test("ends a call in which both sides talk", async () => {
    const said = await printed(
      "throws",
      `${CALL}const silent = client.steps.compose([(x) => x, step]);
      console.log(caught(() => silent.startBlocking("${prompt("silent")}")));`,
    );
    assert.match(said, ENDED);
  });

  test("is followed by another", async () => {
    const said = await printed(
      "throws",
      `${CALL}console.log(caught(() => step.startBlocking("${prompt("silent")}")));
      delete process.env.DIES; // the next one lives
      const conv = new client.Conversation();
      conv.AddMessage("user", "a");
      console.log(conv.GetMessages().length, step.startBlocking("say x"));
      console.log(client.steps.compose([(x) => x, step]).startBlocking("say y"));`,
    );
    const [first = "", ...others] = said.split("\n");
    assert.match(first, ENDED);
    assert.deepEqual(others, ["1 [ 'x ' ]", "[ 'y ' ]"]);
  });

  test("ends the call: it has no memory left", async () => {
    const said = await printed("fills", `${CALL}console.log(caught(() => step.startBlocking("${prompt("silent")}")));`);
    assert.match(said, ENDED);
  });
});
