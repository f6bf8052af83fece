/** Node: gRPC over HTTP/2, worker threads, files. */

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

import type { Platform } from "../platform.js";
import { makeBlocking } from "./blocking.js";
import { link } from "./transport.js";

const node: Platform = {
  link,
  blocking: makeBlocking,
  canBlock: true,
  canTalk: true,
  readFile: (path: string): Uint8Array<ArrayBuffer> =>
    new Uint8Array(readFileSync(/^file:\/\//i.test(path) ? new URL(path) : path)),
  sha256: (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex"),
};

export default node;
