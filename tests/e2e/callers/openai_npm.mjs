// Calls with openai of npm: `node openai_npm.mjs <url> <model> <what>`; prints what came, as JSON.
import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const [url, given, what] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "none", maxRetries: 0 });
let model = given;

const tool = {
  type: "function",
  function: {
    name: "get_weather",
    description: "The weather of a place",
    parameters: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
  },
};
const Weather = z.object({ city: z.string(), degrees: z.int() });

const create = (prompt, more = {}) =>
  client.chat.completions.create({ model, messages: [{ role: "user", content: prompt }], ...more });

async function answered(said) {
  const [call] = said.tool_calls;
  const messages = [
    { role: "user", content: "weather" },
    said,
    { role: "tool", tool_call_id: call.id, content: "sunny" },
  ];
  const answer = await create("", { messages, tools: [tool] });
  return {
    name: call.function.name,
    arguments: JSON.parse(call.function.arguments),
    text: answer.choices[0].message.content,
  };
}

const calls = {
  async plain() {
    const made = await create("hi");
    const [choice] = made.choices;
    const usage = [made.usage.prompt_tokens, made.usage.completion_tokens];
    return { text: choice.message.content, finish: choice.finish_reason, usage };
  },
  async stream() {
    let text = "", finish, usage;
    for await (const chunk of await create("hi", { stream: true, stream_options: { include_usage: true } })) {
      text += chunk.choices[0]?.delta.content ?? "";
      finish = chunk.choices[0]?.finish_reason ?? finish;
      usage = chunk.usage ?? usage;
    }
    return { text, finish, usage: [usage.prompt_tokens, usage.completion_tokens] };
  },
  async tools() {
    const made = await create("weather", { tools: [tool] });
    return answered(made.choices[0].message);
  },
  async tools_streamed() {
    const messages = [{ role: "user", content: "weather" }];
    const stream = client.chat.completions.stream({ model, messages, tools: [tool] });
    return answered(await stream.finalMessage());
  },
  async structured() {
    const messages = [{ role: "user", content: "as json" }];
    const made = await client.chat.completions.parse({
      model, messages, response_format: zodResponseFormat(Weather, "weather"),
    });
    return made.choices[0].message.parsed;
  },
  async embed() {
    const name = model === "fake" ? "vectors" : "minilm";
    const packed = await client.embeddings.create({ model: name, input: ["a", "bb"] });
    const plain = await client.embeddings.create({ model: name, input: ["a", "bb"], encoding_format: "float" });
    const rounded = (made) => JSON.stringify(made.data.map((each) => Array.from(each.embedding, (n) => n.toFixed(4))));
    if (rounded(packed) !== rounded(plain)) throw new Error("vectors differ");
    return { count: packed.data.length, dimensions: packed.data[0].embedding.length };
  },
  async models() {
    const listed = [];
    for await (const each of client.models.list()) listed.push(each.id);
    return { listed: listed.includes(model), one: (await client.models.retrieve(model)).id };
  },
  async abort() {
    const stream = await create("hang", { stream: true });
    for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break;
    stream.controller.abort();
    return "aborted";
  },
  async abort_unary() {
    const controller = new AbortController();
    const asked = client.chat.completions.create(
      { model, messages: [{ role: "user", content: "hang" }] }, { signal: controller.signal },
    );
    setTimeout(() => controller.abort(), 500);
    return asked.then(() => "answered", () => "aborted");
  },
  async bad_model() {
    model = "no-such-model";
    return create("hi");
  },
  limited: () => create("limit"),
  async cut() {
    const pieces = [];
    for await (const chunk of await create("cut", { stream: true })) pieces.push(chunk.choices[0]?.delta.content);
    return pieces;
  },
};

let said;
try {
  said = await calls[what]();
} catch (error) {
  said = { error: error.constructor.name, message: error.message, code: error.code ?? null };
}
console.log(JSON.stringify(said));
if (what.startsWith("abort")) process.stdin.resume(); // so that it is not the end of the process that hangs up
