// A page with a chat: what is asked is streamed into it, and may be stopped.

import { connect, StepwireError } from "stepwire";

const client = connect(new URLSearchParams(location.search).get("server") ?? location.host);
const [question, stop, answer, state] = ["question", "stop", "answer", "state"].map(
  (id) => document.getElementById(id) as HTMLInputElement,
) as [HTMLInputElement, HTMLInputElement, HTMLInputElement, HTMLInputElement];

document.querySelector("form")?.addEventListener("submit", (event) => {
  event.preventDefault();
  void ask(question.value);
});

async function ask(prompt: string): Promise<void> {
  const stopping = new AbortController();
  stop.onclick = () => stopping.abort();
  answer.textContent = "";
  state.textContent = "asked";
  try {
    for await (const event of client.streamChat(prompt, { signal: stopping.signal })) {
      answer.textContent += event.text;
      if (event.type === "finished") state.textContent = `finished: ${event.reason}`;
    }
  } catch (error) {
    if (!(error instanceof StepwireError)) throw error;
    state.textContent = error.name === "AbortError" ? "stopped" : `failed: ${error.reason}: ${error.message}`;
  }
}

// For tests that want more than the page shows.
Object.assign(globalThis, { client, connect });
