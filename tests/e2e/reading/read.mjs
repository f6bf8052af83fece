// Reads one streamed reply as simple programs do: each read of the network is taken for whole lines. The loop `lines` alone
// puts them together.
// Usage: node read.mjs URL LOOP MODEL. Prints what it read as JSON: the text, how often it was told the end, and the size
// of the longest reply.

const [url, loop, model] = process.argv.slice(2);

const ask = () =>
  fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Authorization: "Bearer sk-nobody-reads-this" },
    body: JSON.stringify({ model, messages: [{ role: "user", content: "Say hello." }], stream: true }),
  });

// What one read holds, as these loops see it: no line is put together of two reads, no character either.
function* contents(chunk) {
  for (const line of chunk.split("\n")) {
    if (!line.startsWith("data: ")) continue;
    const data = line.slice(6);
    if (data === "[DONE]") {
      yield { done: true };
      return;
    }
    try {
      const content = JSON.parse(data).choices[0]?.delta?.content;
      if (content) yield { content };
    } catch {
      // what is no JSON is passed over, and lost
    }
  }
}

const found = { text: "", reads: 0, bytes: 0, ends: 0, waits: [], failed: "" };

async function read(response, { stopsAtDone = false, eachRead = () => {} } = {}) {
  if (!response.ok) throw new Error(`status ${response.status}`);
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let bytes = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    found.reads += 1;
    bytes += value.length;
    found.bytes = Math.max(found.bytes, bytes);
    for (const { content, done: isEnd } of contents(decoder.decode(value))) {
      if (isEnd) {
        found.ends += 1;
        if (stopsAtDone) return;
      } else {
        found.text += content;
      }
    }
    eachRead();
  }
}

const loops = {
  // Leaves at the end mark.
  basic: async () => read(await ask(), { stopsAtDone: true }),

  // Goes on until the body ends, three turns on one connection.
  advanced: async () => {
    for (let turn = 0; turn < 3; turn += 1) {
      await read(await ask());
    }
  },

  // Waits as long as a 429 says, in whole seconds, and tries again.
  retry: async () => {
    for (let attempt = 0; attempt < 3; attempt += 1) {
      const response = await ask();
      if (response.status === 429) {
        const seconds = parseInt(response.headers.get("Retry-After") || "5");
        found.waits.push(seconds);
        await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
        continue;
      }
      if (!response.ok) {
        found.failed = (await response.json()).error?.message;
        return;
      }
      return read(response);
    }
  },

  // Counts while it reads.
  progress: async () => {
    let counted = 0;
    await read(await ask(), { eachRead: () => (counted += 1) });
    if (counted !== found.reads) throw new Error("miscounted");
  },

  // Puts together what two reads cut in two, lines and characters, as a reader should.
  lines: async () => {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const value of (await ask()).body) {
      const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
      rest = lines.pop();
      for (const { content, done: isEnd } of contents(lines.join("\n"))) {
        if (isEnd) found.ends += 1;
        else found.text += content;
      }
    }
  },

  // As the page does, whose text grows in place.
  page: async () => {
    const parts = [];
    await read(await ask(), { eachRead: () => parts.push(found.text.length) });
  },
};

try {
  await loops[loop]();
} catch (error) {
  found.failed = `${error.message}: ${error.cause?.message ?? ""}`;
}
process.stdout.write(JSON.stringify(found));
