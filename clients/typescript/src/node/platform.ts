/** Node: gRPC over HTTP/2, worker threads, files. */

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

import type { Blocking } from "../blocking.js";
import type { ConnectOptions, Link, Platform } from "../platform.js";
import { makeBlocking } from "./blocking.js";
import { link } from "./transport.js";

const node: Platform = {
  link: (address: string, options: ConnectOptions): Link => link(address, options),
  blocking: (address: string, options: ConnectOptions): Blocking => makeBlocking(address, options),
  canBlock: true,
  readFile: (path: string): Uint8Array<ArrayBuffer> => new Uint8Array(readFileSync(path)),
  sha256: (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex"),
};

export default node;
