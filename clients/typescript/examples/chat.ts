// Streams a chat; Ctrl-C cancels it, and with it the model:
//   node examples/chat.ts [--server localhost:50051] [--model NAME] [--pieces N] PROMPT

import { parseArgs } from "node:util";
import { connect, StepwireError } from "stepwire";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    server: { type: "string", default: "localhost:50051" },
    model: { type: "string", default: "" },
    pieces: { type: "string", default: "0" },
  },
});
const client = connect(values.server);
const interrupted = new AbortController();
process.once("SIGINT", () => interrupted.abort());

try {
  const prompt = positionals.join(" ");
  let pieces = 0;
  for await (const event of client.streamChat(prompt, { model: values.model, signal: interrupted.signal })) {
    process.stdout.write(event.text);
    if (event.type === "finished") console.log(`\n[${event.model}, ${event.usage.outputTokens} tokens]`);
    if (event.type === "text" && ++pieces === Number(values.pieces)) {
      console.log("\ncancelled");
      break; // leaving the loop ends the call
    }
  }
} catch (error) {
  if (!(error instanceof StepwireError)) throw error;
  if (error.name === "AbortError") console.log("\ncancelled");
  else {
    console.error(`${error.message} (${error.reason || error.code})`);
    process.exitCode = 1;
  }
} finally {
  client.close();
}
