// Loaded before everything else in each thread: that which makes the calls of another one comes to an end.
import { isMainThread } from "node:worker_threads";

const ways = {
  throws: () => {
    throw new Error("died");
  },
  exits: () => process.exit(3),
  fills: () => {
    for (const all = []; ; ) all.push(Array.from({ length: 1e5 }, Math.random));
  },
};

if (!isMainThread && process.env.DIES) setTimeout(ways[process.env.DIES], 300);
