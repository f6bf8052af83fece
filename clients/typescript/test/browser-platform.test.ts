import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import { describe, test } from "node:test";
import { createClient } from "@connectrpc/connect";
import { ChatService } from "stepwire/v1";

import { ofCall } from "../dist/errors.js";
import browser from "../dist/browser/platform.js";

/** Answers each call with the head of a stream and `body`, and cuts the connection. */
async function cutting(body: Uint8Array): Promise<{ server: Server; port: number }> {
  const server = createServer((_, response) => {
    response.writeHead(200, { "content-type": "application/connect+proto", "content-length": "1000" });
    response.write(body, () => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, port: (server.address() as { port: number }).port };
}

async function failure(address: string): Promise<{ code: string; isTransient: boolean; message: string }> {
  const link = browser.link(address, {});
  try {
    for await (const _ of createClient(ChatService, link.transport).streamChat({ prompt: "x" }));
  } catch (thrown) {
    return ofCall(thrown, address);
  } finally {
    link.close();
  }
  throw new assert.AssertionError({ message: "nothing failed" });
}

describe("in a browser", () => {
  test("an answer that is cut off means that the server is not there", async (t) => {
    for (const body of [new Uint8Array(0), new Uint8Array([0, 0, 0, 0, 9, 1])]) {
      const { server, port } = await cutting(body);
      t.after(() => server.close());
      const { code, isTransient } = await failure(`http://127.0.0.1:${port}`);
      assert.deepEqual([code, isTransient], ["UNAVAILABLE", true]);
    }
  });

  for (const [protocol, scheme] of [
    ["file:", "http"],
    ["blob:", "http"],
    [undefined, "http"],
    ["http:", "http"],
    ["https:", "https"],
  ]) {
    test(`a page of ${protocol} asks by ${scheme}`, async (t) => {
      const asked: string[] = [];
      t.mock.method(globalThis, "fetch", async (input: string | URL) => {
        asked.push(String(input));
        throw new TypeError("Failed to fetch");
      });
      Object.assign(globalThis, { location: protocol && { protocol } });
      t.after(() => Reflect.deleteProperty(globalThis, "location"));
      const { code } = await failure("localhost:8080");
      assert.equal(code, "UNAVAILABLE");
      assert.equal(asked[0], `${scheme}://localhost:8080/stepwire.v1.ChatService/StreamChat`);
    });
  }
});
