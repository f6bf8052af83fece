// Calls with Vercel's AI SDK: `node ai_sdk.mjs <url> <model> <what> <provider>`; prints what came, as JSON.
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embedMany, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const [url, given, what, kind] = process.argv.slice(2);
const compatible = createOpenAICompatible({
  name: "stepwire", baseURL: `${url}/v1`, includeUsage: true, supportsStructuredOutputs: true,
});
const stock = createOpenAI({ baseURL: `${url}/v1`, apiKey: "none" });
const chat = (name) => (kind === "stock" ? stock.chat(name) : compatible(name));
const vectors = (name) => (kind === "stock" ? stock.embedding(name) : compatible.embeddingModel(name));
const common = { maxRetries: 0 };
let model = given;

const seen = [];
const tools = {
  get_weather: tool({
    description: "The weather of a place",
    inputSchema: z.object({ city: z.string() }),
    execute: async (asked) => { seen.push(asked); return "sunny"; },
  }),
};
const Weather = z.object({ city: z.string(), degrees: z.int() });

const calls = {
  async plain() {
    const made = await generateText({ ...common, model: chat(model), prompt: "hi" });
    return { text: made.text, finish: made.finishReason, usage: [made.usage.inputTokens, made.usage.outputTokens] };
  },
  async stream() {
    const made = streamText({ ...common, model: chat(model), prompt: "hi" });
    let text = "";
    for await (const piece of made.textStream) text += piece;
    const usage = await made.usage;
    return { text, finish: await made.finishReason, usage: [usage.inputTokens, usage.outputTokens] };
  },
  async tools() {
    const made = await generateText({
      ...common, model: chat(model), prompt: "weather", tools, stopWhen: stepCountIs(3),
    });
    return { name: made.steps[0].toolCalls[0].toolName, arguments: seen[0], text: made.text };
  },
  async tools_streamed() {
    const made = streamText({ ...common, model: chat(model), prompt: "weather", tools, stopWhen: stepCountIs(3) });
    await made.consumeStream();
    const [first] = await made.steps;
    return { name: first.toolCalls[0].toolName, arguments: seen[0], text: await made.text };
  },
  async structured() {
    const made = await generateText({
      ...common, model: chat(model), prompt: "as json", output: Output.object({ schema: Weather }),
    });
    return made.output;
  },
  async embed() {
    const name = model === "fake" ? "vectors" : "minilm";
    const { embeddings } = await embedMany({ ...common, model: vectors(name), values: ["a", "bb"] });
    return { count: embeddings.length, dimensions: embeddings[0].length };
  },
  async abort() {
    const controller = new AbortController();
    const made = streamText({
      ...common, model: chat(model), prompt: "hang", abortSignal: controller.signal, onError: () => {},
    });
    for await (const piece of made.textStream) {
      if (piece) controller.abort();
    }
    return "aborted";
  },
  async bad_model() {
    model = "no-such-model";
    return calls.plain();
  },
  limited: () => generateText({ ...common, model: chat(model), prompt: "limit" }),
  async cut() {
    let failed;
    const made = streamText({
      ...common, model: chat(model), prompt: "cut", onError: ({ error }) => { failed ??= error; },
    });
    let text = "";
    try {
      for await (const piece of made.textStream) text += piece;
    } catch (error) { // the connection broke, behind the event that says why
      failed ??= error;
    }
    if (failed) throw failed;
    return text;
  },
};

let said;
try {
  said = await calls[what]();
} catch (error) {
  said = { error: error.name ?? error.type, message: error.message, code: (error.data?.error ?? error.data)?.code ?? error.code ?? null };
}
console.log(JSON.stringify(said));
if (what === "abort") process.stdin.resume(); // so that it is not the end of the process that hangs up
