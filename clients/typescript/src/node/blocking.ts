/** Calls that block: posted to a thread of their own, waited for with Atomics.wait. */

import type { Blocking } from "../blocking.js";
import type { ConnectOptions } from "../platform.js";

export function makeBlocking(_address: string, _options: ConnectOptions): Blocking {
  throw new Error("not yet");
}
