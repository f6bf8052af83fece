/**
 * Runs the JavaScript blocks of the guide, each as it stands, and prints a table of what came of them.
 *
 * `STEPWIRE_REFERENCE` is the folder with the guide, `STEPWIRE_ADDRESS` a server with the local models and a scripted
 * one, `eyes`; the numbers of blocks may follow.
 */

import { blocksOf } from "./blocks.ts";
import { CHATTING } from "./chatting.ts";
import { STEPPING } from "./stepping.ts";
import { TALKING } from "./talking.ts";
import { layPictures, World } from "./world.ts";

const CASES = { ...TALKING, ...STEPPING, ...CHATTING };

const folder = process.env["STEPWIRE_REFERENCE"];
if (!folder) throw new Error("STEPWIRE_REFERENCE names no folder");
const wanted = process.argv.slice(2).map(Number);
layPictures();
console.log("| block | lines | outcome |\n|---|---|---|");
for (const block of blocksOf(folder)) {
  if (wanted.length > 0 && !wanted.includes(block.number)) continue;
  const world = new World();
  const since = performance.now();
  let outcome: string;
  try {
    const found = CASES[block.number];
    if (!found) throw new Error("nothing is known of this block");
    outcome = await found(block, world);
  } catch (thrown) {
    process.exitCode = 1;
    outcome = `FAILED: ${thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown)}`;
  } finally {
    world.close();
  }
  const took = `${Math.round(performance.now() - since)} ms`;
  console.log(`| ${block.number} | ${block.first}-${block.last} | ${outcome} (${took}) |`);
}
