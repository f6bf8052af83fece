/** Which calls are repeated by themselves, and when. Connect has no such policy of its own, so this is an interceptor. */

import { Code, ConnectError, type Interceptor, type StreamRequest, type UnaryRequest } from "@connectrpc/connect";

import { eachOf } from "./calls.js";

/**
 * Calls to which a second attempt does no harm: they change nothing, or carry a request id, so that the server answers a
 * repeat as it did the first. A chat costs money each time; an update, a deletion, an import or a run may have happened
 * although its answer was lost: those are the caller's to repeat.
 */
const REPEATABLE: Readonly<Record<string, readonly string[]>> = {
  "stepwire.v1.ChatService": ["ListModels", "GetModel", "CountTokens"],
  "stepwire.v1.EmbedService": ["ListEmbeddingModels", "GetEmbeddingModel", "Embed", "StreamEmbeddings", "Search"],
  "stepwire.v1.ConversationService": [
    "CreateConversation",
    "AppendMessages",
    "ForkConversation",
    "GetConversation",
    "ListConversations",
    "StreamMessages",
    "GetMessage",
    "SearchMessages",
    "RenderConversation",
    "DownloadImage",
    "ExportConversation",
  ],
  "stepwire.v1.StepRunService": ["ListSteps", "ValidateStep"],
  "stepwire.v1.PipelineService": ["SavePipeline", "GetPipeline", "ListPipelines"],
};

/** Of the calls above, those that change something: without a request id a second attempt might do it twice. */
const NEEDS_REQUEST_ID = new Set(["CreateConversation", "AppendMessages", "ForkConversation"]);

const MAX_ATTEMPTS = 4;
const FIRST_WAIT_MS = 100;
const LONGEST_WAIT_MS = 1000;
/** What timers can wait; a longer one would be none. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1;
const MAX_TOKENS = 10;
const TOKENS_PER_SUCCESS = 0.1;
const PUSHBACK = "grpc-retry-pushback-ms";

type AnyRequest = UnaryRequest | StreamRequest;

/** Of many calls that fail, few are repeated: a server in trouble is not helped by more calls. One for each connection. */
class Budget {
  #tokens = MAX_TOKENS;

  succeeded(): void {
    this.#tokens = Math.min(MAX_TOKENS, this.#tokens + TOKENS_PER_SUCCESS);
  }

  /** Counts a failure; whether there may be a repeat. */
  failed(): boolean {
    this.#tokens = Math.max(0, this.#tokens - 1);
    return this.#tokens > MAX_TOKENS / 2;
  }
}

/**
 * Repeats calls that found no server: 4 attempts, after random times of up to 0.1, 0.2 and 0.4 s, or as the server says in
 * `grpc-retry-pushback-ms`.
 */
export function retrying(): Interceptor {
  const budget = new Budget();
  return (next) => async (request) => {
    const again = await repeatable(request);
    if (!again) return next(request);
    for (let attempt = 1; ; attempt++) {
      try {
        const answer = await next(again());
        budget.succeeded();
        return answer;
      } catch (thrown) {
        const wait = waitOf(thrown, attempt, budget);
        if (wait === undefined || attempt >= MAX_ATTEMPTS) throw thrown;
        await pause(wait, request.signal);
      }
    }
  };
}

/** Milliseconds until the next attempt; undefined if there is to be none. */
function waitOf(thrown: unknown, attempt: number, budget: Budget): number | undefined {
  if (!(thrown instanceof ConnectError) || thrown.code !== Code.Unavailable) return undefined;
  const mayRepeat = budget.failed();
  const pushback = thrown.metadata.get(PUSHBACK);
  if (!mayRepeat) return undefined;
  if (pushback === null) return Math.random() * Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (attempt - 1));
  const wait = /^\d+$/.test(pushback) ? Number(pushback) : undefined;
  return wait !== undefined && wait <= LONGEST_TIMER_MS ? wait : undefined; // -1, no number, or weeks, is a no
}

/** How to make the request once more; undefined if that might do something twice. */
async function repeatable(request: AnyRequest): Promise<(() => AnyRequest) | undefined> {
  const { name, methodKind } = request.method;
  if (!REPEATABLE[request.service.typeName]?.includes(name)) return undefined;
  if (!request.stream) {
    const hasId = (request.message as { requestId?: string }).requestId !== "";
    return hasId || !NEEDS_REQUEST_ID.has(name) ? () => request : undefined;
  }
  if (methodKind !== "server_streaming") return undefined;
  const messages = await Array.fromAsync(request.message); // one; the stream of it can be read but once
  return () => ({ ...request, message: eachOf(messages) });
}

/** Waits, unless the call is ended meanwhile. */
export function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const ended = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal.removeEventListener("abort", ended);
      resolve();
    }, Math.min(milliseconds, LONGEST_TIMER_MS));
    if (signal.aborted) ended();
    else signal.addEventListener("abort", ended, { once: true });
  });
}
