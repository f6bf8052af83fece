/** What the cases of all parts of the guide are made of. */

import type { Block, Scope } from "./blocks.ts";
import { run } from "./blocks.ts";
import { World } from "./world.ts";

/** Runs a block and looks at what came of it; the outcome, in words, for the table. */
export type Case = (block: Block, world: World) => Promise<string>;

/** Runs a block as it stands. */
export function asItStands(block: Block, world: World, more: Scope = {}): Promise<Scope> {
  return run(block.source, world.scope(more));
}

/** Runs a block twice: the clocks that it sets go off when all is over, and at once. */
export async function twice(act: (world: World, isSoon: boolean) => Promise<void>): Promise<void> {
  for (const isSoon of [false, true]) {
    const world = new World();
    try {
      await act(world, isSoon);
    } finally {
      world.close();
    }
  }
}

// What a block declares is its own affair.
export type Any = any;
