import { createClient } from "@connectrpc/connect";
import assert from "node:assert/strict";
import { on } from "node:events";
import { after, describe, test } from "node:test";
import { Worker } from "node:worker_threads";
import { type Client, type ConnectOptions, connect } from "stepwire";
import { ChatService } from "stepwire/v1";

import browser from "../dist/browser/platform.js";

/** A server that tells which calls come, with how much time, and knows none; in a thread, as this one may be blocked. */
const SERVER = `
const { parentPort } = require("node:worker_threads");
const server = require("node:http2").createServer();
server.on("stream", (stream, { ":path": path, "grpc-timeout": given }) => {
  stream.on("error", () => undefined);
  stream.respond({ ":status": 200, "content-type": "application/grpc", "grpc-status": "12" }, { endStream: true });
  parentPort.postMessage([path.split("/").at(-1), given]);
});
server.listen(0, "127.0.0.1", () => parentPort.postMessage(server.address().port));
`;

const server = new Worker(SERVER, { eval: true });
after(() => server.terminate());
const said = on(server, "message");

/** The next thing that the server says. */
async function next(): Promise<unknown> {
  return ((await said.next()).value as unknown[])[0];
}

const address = `127.0.0.1:${await next()}`;

/** Makes a call, and returns the method that was called, and with how much time. */
async function made(call: () => unknown): Promise<unknown> {
  await assert.rejects(async () => call(), { code: "UNIMPLEMENTED" });
  return next();
}

const read = (stream: AsyncIterable<unknown>) => Array.fromAsync(stream);

function calls(options: ConnectOptions): readonly (readonly [method: string, () => unknown, kind: "quick" | "long" | "stream"])[] {
  const api: Client = connect(address, options);
  const { Conversation, embeddings, steps } = api;
  const mine = steps.createMapStep((x: number) => x);
  return [
    ["ListModels", () => api.models(), "quick"],
    ["GetEmbeddingModel", () => api.embeddingModel(), "quick"],
    ["GetEmbeddingModel", () => embeddings.getModel(), "quick"],
    ["CreateConversation", () => api.createConversation(), "quick"],
    ["CreateConversation", () => new Conversation().flush(), "quick"],
    ["Chat", () => api.chat("x"), "long"],
    ["Embed", () => api.embed(["x"]), "long"],
    ["Embed", () => embeddings.generateEmbedding("x"), "long"],
    ["Search", () => api.search("x", ["y"]), "long"],
    ["CollectStep", () => api.services.stepRuns.collectStep({}), "long"],
    ["UploadImage", () => api.uploadImage(new Uint8Array(1)), "long"],
    ["RunStep", () => api.run("upper", "x"), "long"],
    ["RunStep", () => steps.named("upper").startBlocking("x"), "long"],
    ["RunInteractive", () => mine.startAsync([1]), "long"],
    ["RunInteractive", () => mine.startBlocking([1]), "long"],
    ["RunStep", () => read(api.streamRun("upper", "x")), "stream"],
    ["RunInteractive", () => read(mine.stream([1])), "stream"],
    ["StreamChat", () => read(api.streamChat("x")), "stream"],
    ["StreamEmbeddings", () => read(api.streamEmbeddings(["x"])), "stream"],
  ];
}

describe("a call that is given no time", () => {
  test("has a minute, ten where a model works, and as a stream no limit", async () => {
    const limits = { quick: "60000m", long: "600000m", stream: undefined };
    for (const [method, call, kind] of calls({})) assert.deepEqual(await made(call), [method, limits[kind]]);
  });

  test("has that of the connection", async () => {
    for (const [method, call] of calls({ timeoutMs: 90_000 })) assert.deepEqual(await made(call), [method, "90000m"]);
    for (const [method, call] of calls({ timeoutMs: 0 })) assert.deepEqual(await made(call), [method, undefined]);
  });

  test("has it in browsers too", async (t) => {
    const given: (string | null)[] = [];
    t.mock.method(globalThis, "fetch", async (_: unknown, { headers }: RequestInit) => {
      given.push(new Headers(headers).get("connect-timeout-ms"));
      throw new TypeError("Failed to fetch");
    });
    for (const options of [{}, { timeoutMs: 90_000 }, { timeoutMs: 0 }]) {
      const chats = createClient(ChatService, browser.link("localhost:8080", options).transport);
      await assert.rejects(chats.chat({ prompt: "x" }));
      await assert.rejects(read(chats.streamChat({ prompt: "x" })));
    }
    assert.deepEqual(given, ["600000", null, "90000", "90000", null, null]);
  });
});

test("a call's own time wins, and 0 is none", async () => {
  for (const options of [{}, { timeoutMs: 90_000 }]) {
    const api = connect(address, options);
    assert.deepEqual(await made(() => api.models({ timeoutMs: 80_000 })), ["ListModels", "80000m"]);
    assert.deepEqual(await made(() => api.models({ timeoutMs: 0 })), ["ListModels", undefined]);
    assert.deepEqual(await made(() => api.run("upper", "x", { timeoutMs: 0 })), ["RunStep", undefined]);
    const conversation = new api.Conversation("x");
    assert.deepEqual(await made(() => conversation.getMessagesAsync({ timeoutMs: 0 })), ["ExportConversation", undefined]);
  }
});
