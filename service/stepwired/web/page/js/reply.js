/** A reply as it comes: what its events add up to, and how fast they came. Knows nothing of the DOM. */

/**
 * What a reply is made of, in order: `{kind: "text" | "reasoning", text}` and `{kind: "tool", name, input, result, isError}`,
 * where `input` is JSON text that may be incomplete, and `result` undefined as long as there is none.
 */
export class Reply {
  parts = [];
  state = "waiting"; // then streaming; then finished, stopped or failed
  model = "";
  error = null;
  finish = "";
  attempt = 1;
  #askedAt;
  #firstAt = null;
  #lastAt = null;
  #pieces = 0;
  #usage = null;

  constructor(now) {
    this.#askedAt = now;
  }

  get isOver() {
    return this.state !== "waiting" && this.state !== "streaming";
  }

  get text() {
    return textOf(this.parts);
  }

  /** Takes one event of StreamChat in; `now` in milliseconds. */
  apply(event, now) {
    this.state = "streaming";
    if (event.started) this.model = event.started.model ?? "";
    if (event.textDelta) this.#grow("text", event.textDelta.text, now, event.textDelta.deltaCount ?? 1);
    if (event.reasoningDelta) this.#grow("reasoning", event.reasoningDelta.text, now, 1);
    if (event.toolCall) this.#tool(event.toolCall, now);
    if (event.toolResult) this.#result(event.toolResult);
    if (event.restarted) {
      this.parts = [];
      this.attempt = event.restarted.attempt;
      this.model = event.restarted.model ?? this.model;
    }
    if (event.finished) this.#end(event.finished);
  }

  /** How the reply came to an end that is none: `stopped` by the person, or `failed`. */
  cut(state, error = null) {
    this.state = state;
    this.error = error;
  }

  /** What can be said of its speed: `{model, firstMs, perSecond, tokens, isEstimate, finish}`, each as far as it is known. */
  get stats() {
    const tokens = this.#usage?.outputTokenCount ?? this.#pieces;
    const seconds = (this.#lastAt - this.#firstAt) / 1000;
    return {
      model: this.model,
      firstMs: this.#firstAt === null ? null : Math.round(this.#firstAt - this.#askedAt),
      // The first token's own time is in `firstMs`; what came at once has no speed.
      perSecond: tokens > 1 && seconds > 0.02 ? Math.round(((tokens - 1) / seconds) * 10) / 10 : null,
      tokens,
      isEstimate: this.#usage?.outputTokenCount === undefined,
      finish: this.finish,
    };
  }

  #grow(kind, text, now, pieces) {
    this.#firstAt ??= now;
    this.#lastAt = now;
    this.#pieces += pieces;
    const last = this.parts.at(-1);
    if (last?.kind === kind) last.text += text;
    else this.parts.push({ kind, text });
  }

  #tool({ index = 0, toolId, name, argumentsDelta, toolUse }, now) {
    this.#firstAt ??= now;
    this.#lastAt = now;
    const id = toolUse?.toolId ?? toolId;
    // A turn's calls are told apart by index; once a call has its answer, the same index means the next turn's.
    let part = this.parts.find((each) => each.kind === "tool" && (id && each.id ? each.id === id : each.index === index && each.result === undefined));
    if (!part) this.parts.push((part = { kind: "tool", index, id, name: "", input: "", result: undefined, isError: false }));
    part.id ||= id;
    part.name ||= toolUse?.name ?? name ?? "";
    if (toolUse) part.input = JSON.stringify(toolUse.input ?? {}, null, 2);
    else part.input += argumentsDelta ?? "";
  }

  #result({ toolId, result = "", isError = false }) {
    const part = this.parts.find((each) => each.kind === "tool" && each.id === toolId);
    if (part) Object.assign(part, { result, isError });
  }

  #end(finished) {
    this.state = "finished";
    this.finish = finished.reason ?? "";
    this.model = finished.model || this.model;
    this.#usage = finished.usage ?? null;
    // What was stored says it best: replayed replies, for one, have their thoughts only here.
    if (finished.messages?.length) this.parts = partsOf(finished.messages);
  }
}

/** The parts of a stored reply. */
export function partsOf(messages) {
  const parts = [];
  for (const { reasoning, text, toolUse, toolResult } of messages) {
    if (reasoning?.text) parts.push({ kind: "reasoning", text: reasoning.text });
    if (text) parts.push({ kind: "text", text });
    if (toolUse) {
      const input = JSON.stringify(toolUse.input ?? {}, null, 2);
      parts.push({ kind: "tool", id: toolUse.toolId, name: toolUse.name, input, result: undefined, isError: false });
    }
    if (toolResult) {
      const part = parts.findLast((each) => each.kind === "tool" && each.id === toolResult.toolId);
      const answer = { result: toolResult.result ?? "", isError: toolResult.isError ?? false };
      if (part) Object.assign(part, answer);
      else parts.push({ kind: "tool", id: toolResult.toolId, name: "", input: "", ...answer });
    }
  }
  return parts;
}

export function textOf(parts) {
  return parts.filter((part) => part.kind === "text").map((part) => part.text).join("\n\n");
}
