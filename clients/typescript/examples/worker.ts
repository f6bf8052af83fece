/** Serves steps that every pipeline of a server can name: `node worker.ts localhost:50051`. */

import { type CallContext, serveSteps } from "stepwire";

const [address = "localhost:50051"] = process.argv.slice(2);

/** Ends early when the run that asked is cancelled: its signal then aborts. */
function wait(milliseconds: number, { signal }: CallContext): Promise<string> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => resolve(`waited ${milliseconds} ms`), milliseconds);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

await serveSteps(
  address,
  {
    shout: {
      run: (text: string) => `${text.toUpperCase()}!`,
      description: "The text, louder.",
      inputSchema: { type: "string" },
      outputSchema: { type: "string" },
    },
    // Each value that a generator yields is a result.
    words: function* (text: string) {
      yield* text.split(/\s+/);
    },
    wait,
  },
  { maxInFlight: 8, name: "example" },
);
