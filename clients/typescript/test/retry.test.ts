/** Against a server of the test's own, which refuses as it is told. */

import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";
import assert from "node:assert/strict";
import { createServer, type Http2ServerRequest, type Http2ServerResponse } from "node:http2";
import type { AddressInfo } from "node:net";
import { describe, test, type TestContext } from "node:test";
import { connect } from "stepwire";
import { ChatService, ConversationService, EmbedService } from "stepwire/v1";

type Impl<S extends typeof ChatService | typeof ConversationService | typeof EmbedService> = Partial<ServiceImpl<S>>;

interface Services {
  chat?: Impl<typeof ChatService>;
  conversations?: Impl<typeof ConversationService>;
  embed?: Impl<typeof EmbedService>;
}

/** Whether it has answered by itself. */
type Handler = (request: Http2ServerRequest, response: Http2ServerResponse) => boolean;

/** Serves until the test is over; a client of it. */
async function served(t: TestContext, { chat, conversations, embed }: Services, before: Handler = () => false) {
  const handle = connectNodeAdapter({
    routes(router) {
      if (chat) router.service(ChatService, chat);
      if (conversations) router.service(ConversationService, conversations);
      if (embed) router.service(EmbedService, embed);
    },
  });
  const server = createServer((request, response) => void (before(request, response) || handle(request, response)));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const client = connect(`127.0.0.1:${(server.address() as AddressInfo).port}`);
  t.after(() => {
    client.close();
    server.close();
  });
  return client;
}

function unavailable(pushback?: string): ConnectError {
  return new ConnectError(
    "later",
    Code.Unavailable,
    pushback === undefined ? {} : { "grpc-retry-pushback-ms": pushback },
  );
}

describe("a call that finds no server", () => {
  test("is made four times, if it changes nothing", async (t) => {
    let calls = 0;
    const client = await served(t, {
      chat: {
        listModels() {
          calls += 1;
          throw unavailable();
        },
      },
    });
    await assert.rejects(client.models(), { code: "UNAVAILABLE" });
    assert.equal(calls, 4);
  });

  test("succeeds once it is answered", async (t) => {
    let calls = 0;
    const client = await served(t, {
      embed: {
        embed() {
          calls += 1;
          if (calls < 3) throw unavailable();
          return { embeddings: [{ values: [1] }] };
        },
      },
    });
    assert.deepEqual(await client.embed(["x"]), [Float32Array.of(1)]);
  });

  test("is made again as a stream, if it was refused before it began", async (t) => {
    let calls = 0;
    const refuse: Handler = (_, response) => {
      calls += 1;
      if (calls > 1) return false;
      response.writeHead(200, {
        "content-type": "application/grpc+proto",
        "grpc-status": "14",
        "grpc-message": "later",
      });
      response.end();
      return true;
    };
    const embed = {
      async *streamEmbeddings({ texts }: { texts: string[] }) {
        yield { index: 0, outcome: { case: "embedding" as const, value: { values: [texts.length] } } };
      },
    };
    const client = await served(t, { embed }, refuse);
    const results = await Array.fromAsync(client.streamEmbeddings(["a", "b"]));
    assert.deepEqual(
      results.map(({ vector }) => vector?.[0]),
      [2],
    );
    assert.equal(calls, 2);
  });

  test("is made once, if it costs money", async (t) => {
    let calls = 0;
    const client = await served(t, {
      chat: {
        chat() {
          calls += 1;
          throw unavailable();
        },
        async *streamChat() {
          calls += 1;
          throw unavailable();
        },
      },
    });
    await assert.rejects(client.chat("hi"), { code: "UNAVAILABLE" });
    await assert.rejects(client.streamChat("hi").next(), { code: "UNAVAILABLE" });
    assert.equal(calls, 2);
  });

  test("is made once, if it failed for another reason", async (t) => {
    let calls = 0;
    const client = await served(t, {
      chat: {
        listModels() {
          calls += 1;
          throw new ConnectError("no", Code.Internal);
        },
      },
    });
    await assert.rejects(client.models(), { code: "INTERNAL" });
    assert.equal(calls, 1);
  });

  test("creates with one request id, however often it is made", async (t) => {
    const ids: string[] = [];
    const client = await served(t, {
      conversations: {
        createConversation({ requestId }) {
          ids.push(requestId);
          if (ids.length < 3) throw unavailable();
          return { conversation: { id: "c1" } };
        },
      },
    });
    assert.equal((await client.createConversation()).id, "c1");
    assert.equal(ids.length, 3);
    assert.equal(new Set(ids).size, 1);
    assert.match(ids[0] ?? "", /^[0-9a-f-]{36}$/);
  });

  test("creates once, without a request id", async (t) => {
    let calls = 0;
    const client = await served(t, {
      conversations: {
        createConversation() {
          calls += 1;
          throw unavailable();
        },
      },
    });
    await assert.rejects(client.services.conversations.createConversation({}), { code: "UNAVAILABLE" });
    assert.equal(calls, 1);
  });

  test("is made again when the server says, and not when it says never", async (t) => {
    const times: number[] = [];
    let pushback = "700";
    const client = await served(t, {
      chat: {
        listModels() {
          times.push(performance.now());
          if (times.length === 1 || pushback !== "700") throw unavailable(pushback);
          return {};
        },
      },
    });
    await client.models();
    // At least: what was asked for. How much more, the machine decides.
    assert.ok((times[1] ?? 0) - (times[0] ?? 0) >= 699);
    pushback = "-1";
    await assert.rejects(client.models(), { code: "UNAVAILABLE" });
    assert.equal(times.length, 3);
    pushback = String(2 ** 31); // no timer can wait so long
    times.length = 0;
    await assert.rejects(client.models(), { code: "UNAVAILABLE" });
    assert.equal(times.length, 1);
  });

  test("is given up sooner when many fail", async (t) => {
    let calls = 0;
    const client = await served(t, {
      chat: {
        listModels() {
          calls += 1;
          throw unavailable("0");
        },
      },
    });
    for (let call = 0; call < 5; call++) await assert.rejects(client.models(), { code: "UNAVAILABLE" });
    // Five tokens are spent on the first five failures; from then on there are no repeats.
    assert.equal(calls, 4 + 1 + 1 + 1 + 1);
  });

  test("is not waited for once it is cancelled", async (t) => {
    const ending = new AbortController();
    const client = await served(t, {
      chat: {
        listModels() {
          ending.abort();
          throw unavailable("600000");
        },
      },
    });
    await assert.rejects(client.models({ signal: ending.signal }), { name: "AbortError" });
  });
});
