import { describe, test } from "node:test";
import { MessageChannel, type MessagePort } from "node:worker_threads";
import { create } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { RunInteractiveResponseSchema, StepRunService } from "stepwire/v1";

import { talk } from "../dist/node/talk-worker.js";

/** How many messages the thread lays before one that reads none. */
const UNREAD = 16;
const HANG_MS = 60_000;

/** A call whose server never stops, and a promise that it was left. */
function endless(): { readonly transport: Transport; readonly left: Promise<void> } {
  let leave: () => void = () => undefined;
  const left = new Promise<void>((resolve) => (leave = resolve));
  async function* messages() {
    try {
      for (;;) yield create(RunInteractiveResponseSchema);
    } finally {
      leave();
    }
  }
  const stream = async () => ({ message: messages() });
  return { transport: { stream } as unknown as Transport, left };
}

describe("a talk in which nobody reads", () => {
  for (const [name, leave] of [
    ["told so", (port: MessagePort) => port.postMessage({ kind: "close" })],
    ["its port is closed", (port: MessagePort) => port.close()],
  ] as const) {
    test(`ends when it is left: ${name}`, { timeout: HANG_MS }, async () => {
      const { port1, port2 } = new MessageChannel();
      const { transport, left } = endless();
      let heard = 0;
      port1.on("message", () => {
        heard += 1;
        if (heard === UNREAD) leave(port1);
      });
      talk(StepRunService.method.runInteractive, undefined, {
        transport,
        address: "nowhere",
        port: port2,
        ring: () => undefined,
      });
      await left;
      port1.close();
      port2.close();
    });
  }
});
