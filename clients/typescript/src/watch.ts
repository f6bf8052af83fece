/** Watches a conversation through cut connections and restarts of the server. */

import { durationFromMs } from "@bufbuild/protobuf/wkt";

import { ClientClosed, StepwireError } from "./errors.js";
import type { WatchConversationResponse } from "./gen/stepwire/v1/conversation_pb.js";
import { type CallOptions, callOptions } from "./options.js";
import { LONGEST_TIMER_MS, pause } from "./retry.js";
import type { Services } from "./services.js";

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 10_000;
/** A connection that held so long was a good one, and the next is made at once. */
const STEADY_MS = 5000;

/** Codes that a connection ends with, as it or a proxy says it; a Stepwire server adds a reason. */
const CUT = new Set(["UNAVAILABLE", "INTERNAL", "UNKNOWN", "CANCELLED"]);

/** How to watch. Its `timeoutMs` is for the whole watch; that of `connect` does not count. */
export interface WatchArguments extends CallOptions {
  /** The changes after this revision; 0 for all that there ever were. Default: those from now on. */
  readonly afterRevision?: bigint | number;
  /**
   * Milliseconds between the signs that the server gives, 1,000 to 600,000. Without one for three times as long, a new
   * connection is made. Default: 30,000.
   */
  readonly heartbeatMs?: number;
}

/** One change of a conversation, at its revision. */
export type ConversationChange = {
  readonly revision: bigint;
  readonly change: Exclude<WatchConversationResponse["change"], { case: "heartbeat" } | { case: undefined }>;
};

/**
 * Yields every change, in order, each exactly once, until the conversation is deleted. A connection that is cut, falls
 * silent or ends with the server is made again, without end, and the changes that came meanwhile are told.
 */
export async function* watch(
  services: Services,
  conversationId: string,
  args: WatchArguments,
): AsyncGenerator<ConversationChange, void, undefined> {
  const deadline = args.timeoutMs ? AbortSignal.timeout(args.timeoutMs) : undefined;
  const ended = AbortSignal.any([args.signal, deadline].filter((each) => each !== undefined));
  // The beginning must not move when the connection is cut before the first change. This also tells at once if there is
  // no server, which afterwards is waited for.
  const { conversation } = await services.conversations.getConversation({ conversationId }, callOptions(args));
  let after = args.afterRevision === undefined ? (conversation?.revision ?? 0n) : BigInt(args.afterRevision);
  for (let failures = 0; ; ) {
    let waitMs = 0;
    const since = performance.now();
    try {
      for await (const response of alive(services, conversationId, after, args.heartbeatMs ?? 30_000, ended)) {
        const { change, revision } = response;
        if (change.case === undefined || change.case === "heartbeat" || revision <= after) continue;
        after = revision;
        yield { revision, change };
        if (change.case === "deleted") return;
      }
    } catch (thrown) {
      if (deadline?.aborted) throw over();
      if (ended.aborted || !isCut(thrown)) throw thrown;
      waitMs = (thrown as StepwireError).retryDelayMs ?? 0;
    }
    // Else a server that ends each call would be asked without a pause.
    if (performance.now() - since > STEADY_MS) failures = 0;
    const longest = failures ? Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(failures - 1, 30)) : 0;
    failures += 1;
    await pause(Math.max(Math.random() * longest, waitMs), ended).catch(() => {
      if (deadline?.aborted) throw over();
      throw new StepwireError("the call was cancelled", { code: "CANCELLED" }, { cause: ended.reason });
    });
  }
}

function over(): StepwireError {
  return new StepwireError("the time for this watch is over", { code: "DEADLINE_EXCEEDED" });
}

/** One call, which ends when nothing has come for three heartbeats. */
async function* alive(
  services: Services,
  conversationId: string,
  afterRevision: bigint,
  heartbeatMs: number,
  ended: AbortSignal,
): AsyncGenerator<WatchConversationResponse> {
  const silent = new AbortController();
  const request = { conversationId, afterRevision, heartbeatInterval: durationFromMs(heartbeatMs) };
  let timer = setTimeout(() => silent.abort(), Math.min(3 * heartbeatMs, LONGEST_TIMER_MS));
  const signal = AbortSignal.any([ended, silent.signal]);
  try {
    for await (const response of services.conversations.watchConversation(request, { signal, timeoutMs: 0 })) {
      clearTimeout(timer);
      yield response;
      timer = setTimeout(() => silent.abort(), Math.min(3 * heartbeatMs, LONGEST_TIMER_MS));
    }
  } finally {
    clearTimeout(timer);
  }
}

function isCut(error: unknown): boolean {
  if (!(error instanceof StepwireError) || error instanceof ClientClosed) return false;
  if (!error.reason) return CUT.has(error.code);
  return error.isTransient || error.code === "UNAVAILABLE" || error.reason === "SLOW_CONSUMER";
}
