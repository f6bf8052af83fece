/** What calls fail with. No error of Connect or gRPC leaves this package. */

import { Code, ConnectError } from "@connectrpc/connect";

import {
  BadRequestSchema,
  ErrorInfoSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from "./gen/google/rpc/error_details_pb.js";
import type { Failure } from "./gen/stepwire/v1/message_pb.js";

/** One field of a request that has to change. */
export interface Violation {
  /** Path from the request, as in `messages[2].role`. */
  readonly field: string;
  /** What is wrong and what would be right. */
  readonly description: string;
  /** The cause, for programs; a name of `ErrorReason` without its prefix. */
  readonly reason: string;
}

/** The facts of a failure, as they travel between threads. */
export interface ErrorFacts {
  /** Name of the gRPC status, such as `NOT_FOUND`. */
  readonly code: string;
  /** A name of `ErrorReason` without its prefix; empty if no Stepwire server said one. */
  readonly reason: string;
  /** Milliseconds after which trying again may help; absent where nobody said that it would. */
  readonly retryDelayMs?: number | undefined;
  /** What the server's log calls this call; empty if the server never saw it. */
  readonly requestId: string;
  /** Facts about the cause, as `ErrorReason` documents them. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The fields to change, all of them, in the order of the request. */
  readonly violations: readonly Violation[];
}

/** How long somebody waits. */
interface Waiting {
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
}

const NO_FACTS: ErrorFacts = { code: "UNKNOWN", reason: "", requestId: "", metadata: {}, violations: [] };

/**
 * A call, or one item of a stream, failed.
 *
 * `name` is `AbortError` where the call was cancelled, as it is of whatever an `AbortSignal` ends; else `StepwireError`.
 */
export class StepwireError extends Error implements ErrorFacts {
  readonly code: string;
  readonly reason: string;
  readonly retryDelayMs: number | undefined;
  readonly requestId: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly violations: readonly Violation[];
  /** Of several calls that failed behind each other, those after the first. At most 99 are kept. */
  readonly others: readonly StepwireError[] = [];

  constructor(message: string, facts: Partial<ErrorFacts> = {}, options?: ErrorOptions) {
    super(message, options);
    const all = { ...NO_FACTS, ...facts };
    this.name = all.code === "CANCELLED" ? "AbortError" : "StepwireError";
    this.code = all.code;
    this.reason = all.reason;
    this.retryDelayMs = all.retryDelayMs;
    this.requestId = all.requestId;
    this.metadata = all.metadata;
    this.violations = all.violations;
  }

  /** Whether the same call may succeed later, unchanged. */
  get isTransient(): boolean {
    return this.retryDelayMs !== undefined || (this.code === "UNAVAILABLE" && this.reason === "");
  }

  /** Whether the message has `text` in it: `rate limit`, `context length` and `invalid api key` are always worded so. */
  includes(text: string): boolean {
    return this.message.includes(text);
  }
}

/** Something was called on a client that is closed. */
export class ClientClosed extends StepwireError {
  constructor() {
    super("the client is closed", { code: "CANCELLED" });
  }
}

/** The facts alone, which can be sent to another thread. */
export function toFacts(error: StepwireError): ErrorFacts & { message: string } {
  const { message, code, reason, retryDelayMs, requestId, metadata, violations } = error;
  return { message, code, reason, retryDelayMs, requestId, metadata, violations };
}

/** Makes the error of a failed item, in a stream that goes on. */
export function ofItem(failure: Failure): StepwireError {
  return new StepwireError(failure.message, {
    code: codeName(failure.code),
    reason: failure.reason,
    retryDelayMs: milliseconds(failure.retryDelay),
    metadata: { ...failure.metadata },
  });
}

/** Makes our error of whatever a call was ended by. Works with as little as a bare status, which is all that proxies send. */
export function ofCall(thrown: unknown, target: string, signal?: AbortSignal): StepwireError {
  if (thrown instanceof StepwireError) return thrown;
  const failed = ConnectError.from(thrown);
  const [info] = failed.findDetails(ErrorInfoSchema);
  const [retry] = failed.findDetails(RetryInfoSchema);
  const [request] = failed.findDetails(RequestInfoSchema);
  const [bad] = failed.findDetails(BadRequestSchema);
  const code = codeName(failed.code);
  const cause: unknown = code === "CANCELLED" ? (signal?.aborted ? signal.reason : failed.cause) : undefined;
  return new StepwireError(
    info ? failed.rawMessage : inOurWords(code, failed.rawMessage, target),
    {
      code,
      reason: info?.reason ?? "",
      retryDelayMs: milliseconds(retry?.retryDelay),
      requestId: request?.requestId || (failed.metadata.get("x-request-id") ?? ""),
      metadata: { ...info?.metadata },
      violations: (bad?.fieldViolations ?? []).map(({ field, description, reason }) => ({
        field,
        description,
        reason,
      })),
    },
    cause === undefined ? {} : { cause }, // what a caller gave to `abort(reason)` stays within reach
  );
}

/** Makes our error of whatever a function of the program threw, which is then its cause. */
export function ofFunction(thrown: unknown): StepwireError {
  if (thrown instanceof StepwireError) return thrown;
  const message = thrown instanceof Error ? thrown.message || thrown.name : String(thrown);
  return new StepwireError(message, { code: "UNKNOWN" }, { cause: thrown });
}

/** Waits, but not longer than until the signal aborts or the time is over. */
export async function unlessEnded<T>(promise: Promise<T>, waiting: Waiting, target: string): Promise<T> {
  const { signal, timeoutMs = 0 } = waiting;
  if (!signal && timeoutMs <= 0) return promise;
  let end: () => void = () => undefined;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const ended = new Promise<never>((_, reject) => {
    end = () => reject(new StepwireError("the call was cancelled", { code: "CANCELLED" }, { cause: signal?.reason }));
    if (signal?.aborted) end();
    signal?.addEventListener("abort", end);
    const code = "DEADLINE_EXCEEDED";
    const late = () => reject(new StepwireError(inOurWords(code, "", target), { code }));
    if (timeoutMs > 0) timer = setTimeout(late, timeoutMs);
  });
  try {
    return await Promise.race([promise, ended]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", end);
  }
}

/** Makes the error of something that this package refuses by itself, in the server's words. */
export function refused(message: string, reason: string, code = "INVALID_ARGUMENT"): StepwireError {
  return new StepwireError(message, { code, reason });
}

/** Gives an error that is not of this package what handlers ask of every one: `includes`. It stays the error it is. */
export function searchable<E extends Error>(error: E): E {
  if (!("includes" in error) && Object.isExtensible(error)) {
    const value = (text: string) => error.message.includes(text);
    Object.defineProperty(error, "includes", { value, configurable: true, writable: true });
  }
  return error;
}

/** Makes the error of an argument that no program should give. */
export function misused(message: string): TypeError {
  return searchable(new TypeError(message));
}

function inOurWords(code: string, message: string, target: string): string {
  switch (code) {
    case "UNAVAILABLE":
      return `no answer from ${target}: ${message || "the connection was lost"}`;
    case "DEADLINE_EXCEEDED":
      return `${target} did not answer in time`;
    case "UNIMPLEMENTED":
      return `${target} does not know this call: it is no Stepwire server, or an older one`;
    case "CANCELLED":
      return "the call was cancelled";
    default:
      return message || `${target} answered ${code}`;
  }
}

/** `InvalidArgument` of the enumeration is `INVALID_ARGUMENT` everywhere else; `Canceled` has two spellings. */
export function codeName(code: number): string {
  if (code === Code.Canceled) return "CANCELLED";
  const name = Code[code];
  return name ? name.replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase() : "UNKNOWN";
}

function milliseconds(duration: { seconds: bigint; nanos: number } | undefined): number | undefined {
  return duration && Number(duration.seconds) * 1000 + duration.nanos / 1e6;
}
