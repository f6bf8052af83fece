/** Answers the server's calls of functions of this program: side by side, each at the pace at which its results go. */

import { create, toBinary } from "@bufbuild/protobuf";
import { type Value, ValueSchema } from "@bufbuild/protobuf/wkt";

import { type Call, CallDoneSchema, type CallReply, CallReplySchema } from "../gen/stepwire/v1/step_run_pb.js";
import { filled, toValue, type Unread } from "../steps/values.js";
import type { CallContext, Functions, Served } from "./functions.js";

/** Of one value. A server takes no larger message: it would end the stream, and with it all other calls on it. */
const MAX_VALUE_BYTES = 16 * 2 ** 20 - 2 ** 10;

/** The calls that are open on one stream. */
export class Calls {
  readonly #functions: Functions;
  readonly #send: (reply: CallReply) => Promise<void>;
  readonly #open = new Map<string, AbortController>();

  /**
   * @param functions What can be called.
   * @param send Takes the replies. Never called twice for one call at once.
   */
  constructor(functions: Functions, send: (reply: CallReply) => Promise<void>) {
    this.#functions = functions;
    this.#send = send;
  }

  /** Begins to answer a call. */
  begin(call: Call): void {
    const controller = new AbortController();
    this.#open.set(call.callId, controller);
    void this.#answer(call, controller.signal).finally(() => this.#open.delete(call.callId));
  }

  /** Ends a call that is no longer needed: aborts its signal. A function that goes on all the same is not heard. */
  cancel(callId: string): void {
    this.#open.get(callId)?.abort();
    this.#open.delete(callId);
  }

  /** Ends all calls. */
  close(): void {
    for (const callId of [...this.#open.keys()]) this.cancel(callId);
  }

  async #answer(call: Call, signal: AbortSignal): Promise<void> {
    let ending: CallReply;
    try {
      ending = await this.#ending(call, signal);
    } catch (thrown) {
      ending = reply(call, { case: "error", value: this.#functions.note(thrown) });
    }
    if (!signal.aborted) await this.#send(ending);
  }

  /** Calls the function, sends what it yields, and says what it ends with. */
  async #ending(call: Call, signal: AbortSignal): Promise<CallReply> {
    const served = find(this.#functions, call);
    const given = this.#functions.given(served, call);
    const returned: unknown = await served.closure(...given, context(call, signal));
    const value = async (result: unknown): Promise<Value> => {
      const unread: Unread = [];
      const made = valueOf(served, result, given, unread);
      await filled(unread, { signal });
      return sized(made);
    };
    if (!isGenerator(returned)) return done(call, [await value(returned)]);
    let leave: () => void = () => undefined;
    signal.addEventListener("abort", () => leave(), { once: true });
    for (;;) {
      const next = await new Promise<IteratorResult<unknown> | undefined>((resolve, reject) => {
        leave = () => resolve(undefined);
        if (signal.aborted) leave();
        else Promise.resolve(returned.next()).then(resolve, reject);
      });
      if (signal.aborted || next === undefined) {
        void Promise.resolve(returned.return(undefined)).catch(() => undefined); // it may be busy still
        return done(call, []);
      }
      if (next.done) return done(call, []);
      await this.#send(output(call, await value(await next.value)));
    }
  }
}

/** The function that a call is of. */
export function find(functions: Functions, call: Call): Served {
  const served = functions.get(call.function);
  if (!served) throw new ReferenceError(`there is no function \`${call.function}\` here`);
  return served;
}

/** What a function is told beside its value. */
export function context(call: Call, signal: AbortSignal): CallContext {
  return { signal, attempt: call.attempt, runId: call.runId, stepPath: call.stepPath };
}

/** What a function returned or yielded, as the wire has it once `unread` is filled. */
export function valueOf(served: Served, returned: unknown, given: unknown[], unread: Unread): Value {
  return toValue(served.manner.result(returned, given), unread);
}

/** The value, if a message can carry it. */
export function sized(value: Value): Value {
  const sizeBytes = toBinary(ValueSchema, value).length;
  if (sizeBytes > MAX_VALUE_BYTES) {
    throw new RangeError(`the function made a value of ${sizeBytes} bytes: a message carries ${MAX_VALUE_BYTES}`);
  }
  return value;
}

/** One of the replies to a call. */
export function reply(call: Call, kind: CallReply["kind"]): CallReply {
  return create(CallReplySchema, { callId: call.callId, kind });
}

/** One more result. */
export function output(call: Call, value: Value): CallReply {
  return reply(call, { case: "output", value });
}

/** The end of an answer, with its last results. */
export function done(call: Call, outputs: Value[]): CallReply {
  return reply(call, { case: "done", value: create(CallDoneSchema, { outputs }) });
}

/** Whether a function returned a generator, whose values are results one by one; another iterable is one value. */
export function isGenerator(returned: unknown): returned is Generator | AsyncGenerator {
  return /^\[object (Async)?Generator\]$/.test(Object.prototype.toString.call(returned));
}
