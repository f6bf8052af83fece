import { Code, ConnectError } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import assert from "node:assert/strict";
import { createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { describe, test } from "node:test";
import { connect } from "stepwire";
import { ConversationService } from "stepwire/v1";

import { client } from "./serve.ts";

describe("a watch", () => {
  test("tells each change, until the conversation is deleted", async () => {
    const conversation = await client().createConversation({ messages: ["Hi"] });
    const changes: string[] = [];
    for await (const { revision, change } of conversation.watch({ afterRevision: 0 })) {
      changes.push(`${revision} ${change.case}`);
      if (revision === 2n) await conversation.append({ role: "assistant", text: "Yes?" });
      if (revision === 3n) await conversation.delete();
    }
    assert.deepEqual(changes, ["1 created", "2 messageAppended", "3 messageAppended", "4 deleted"]);
  });

  test("begins now, if nothing else is said", async () => {
    const conversation = await client().createConversation({ messages: ["Hi"] });
    const watch = conversation.watch();
    let isTold = false;
    const next = watch.next().finally(() => {
      isTold = true;
    });
    // When it begins, nobody is told: what is appended before is not for it.
    while (!isTold) await conversation.append("more");
    const { value } = await next;
    assert.ok(value && value.revision > 2n && value.change.case === "messageAppended");
    await watch.return();
  });

  test("fails at once where there is no such conversation", async () => {
    await assert.rejects(client().conversation("nope").watch().next(), { reason: "CONVERSATION_NOT_FOUND" });
  });

  test("ends with its signal, and with its time", async () => {
    const conversation = await client().createConversation();
    const ending = new AbortController();
    const next = conversation.watch({ signal: ending.signal }).next();
    ending.abort();
    await assert.rejects(next, { name: "AbortError" });
    await assert.rejects(conversation.watch({ timeoutMs: 100 }).next(), { code: "DEADLINE_EXCEEDED" });
  });

  test("goes on where it was when the connection is cut", async (t) => {
    const asked: (bigint | undefined)[] = [];
    const handle = connectNodeAdapter({
      routes(router) {
        router.service(ConversationService, {
          getConversation: () => ({ conversation: { id: "c", revision: 7n } }),
          async *watchConversation({ afterRevision = 0n }) {
            asked.push(afterRevision);
            yield { revision: afterRevision, change: { case: "heartbeat", value: {} } };
            if (asked.length === 2) throw new ConnectError("slow", Code.Unavailable);
            yield { revision: afterRevision + 1n, change: { case: "messageAppended", value: {} } };
            if (asked.length === 1) throw new ConnectError("cut", Code.Unavailable);
            yield { revision: afterRevision + 2n, change: { case: "deleted", value: {} } };
          },
        });
      },
    });
    const server = createServer(handle);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const watching = connect(`127.0.0.1:${(server.address() as AddressInfo).port}`);
    t.after(() => {
      watching.close();
      server.close();
    });
    const changes = await Array.fromAsync(watching.conversation("c").watch());
    assert.deepEqual(
      changes.map(({ revision }) => revision),
      [8n, 9n, 10n],
    );
    assert.deepEqual(asked, [7n, 8n, 8n]);
  });

  test("ends when its client is closed", async () => {
    const closing = client();
    const conversation = await closing.createConversation();
    const watch = conversation.watch({ afterRevision: 0 });
    await watch.next();
    const next = watch.next();
    closing.close();
    await assert.rejects(next, { message: "the client is closed" });
  });

  test("waits longer and longer for a server that ends each call after a word", async (t) => {
    t.mock.method(Math, "random", () => 1);
    const times: number[] = [];
    const handle = connectNodeAdapter({
      routes: (router) =>
        router.service(ConversationService, {
          getConversation: () => ({ conversation: { id: "x", revision: 1n } }),
          async *watchConversation() {
            times.push(performance.now());
            yield { change: { case: "heartbeat", value: {} } };
            if (times.length === 4) yield { revision: 2n, change: { case: "deleted", value: {} } };
            else throw new ConnectError("cut", Code.Unavailable);
          },
        }),
    });
    const server = createServer(handle);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const cut = connect(`127.0.0.1:${(server.address() as AddressInfo).port}`);
    t.after(() => {
      cut.close();
      server.close();
    });
    const changes = await Array.fromAsync(cut.conversation("x").watch(), ({ change }) => change.case);
    assert.deepEqual(changes, ["deleted"]);
    // At least: 0.1 s and 0.2 s. How much more, the machine decides.
    assert.ok((times[3] ?? 0) - (times[1] ?? 0) >= 299, String(times));
  });
});
