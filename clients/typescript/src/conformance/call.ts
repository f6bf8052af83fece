/** One call of the conformance driver: made with the generated services and Connect's own client. */

import { create, type DescMessage, type DescMethod, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import { AnySchema } from "@bufbuild/protobuf/wkt";
import { type CallOptions, ConnectError, createClient, type Transport } from "@connectrpc/connect";

import { codeName } from "../errors.js";
import { StatusSchema } from "../gen/google/rpc/status_pb.js";
import { Queue } from "./queue.js";
import { note, noteFailure, type Typed } from "./typed.js";

/** As `clients/conformance/PROTOCOL.md` has it. */
export interface Begin {
  id: string;
  call: string;
  requests?: string[];
  open?: boolean;
  metadata?: Record<string, string>;
  timeout_ms?: number;
  cancel_after?: number;
  leave_after?: number;
  progress?: boolean;
}

type Say = (line: object) => void;
type AnyCall = (input: unknown, options: CallOptions) => Promise<Message> | AsyncIterable<Message>;

export class Call {
  readonly #begin: Begin;
  readonly #method: DescMethod;
  readonly #say: Say;
  readonly #requests = new Queue<Message>();
  readonly #ending = new AbortController();
  readonly #messages: string[] = [];
  readonly #typed: Typed = {};
  #headers = new Headers();
  #trailers = new Headers();
  #cancelledAt: number | null = null;
  #count = 0;

  constructor(begin: Begin, method: DescMethod, say: Say) {
    this.#begin = begin;
    this.#method = method;
    this.#say = say;
    for (const request of begin.requests ?? []) this.send(request);
    if (!begin.open) this.close();
  }

  send(request: string): void {
    this.#requests.push(decoded(this.#method.input, request));
  }

  close(): void {
    this.#requests.close();
  }

  cancel(): void {
    this.#cancelledAt ??= now();
    this.#ending.abort();
  }

  /** Makes the call and says how it ended. Never rejects. */
  async run(transport: Transport): Promise<void> {
    let failed: ConnectError | undefined;
    let hasLeft = false;
    try {
      hasLeft = await this.#make(transport);
    } catch (thrown) {
      failed = ConnectError.from(thrown);
      noteFailure(this.#typed, failed);
    }
    this.#say(this.#answer(failed, hasLeft));
  }

  /** Whether it was left early. */
  async #make(transport: Transport): Promise<boolean> {
    const client = createClient(this.#method.parent, transport) as unknown as Record<string, AnyCall>;
    const call = client[this.#method.localName] as AnyCall;
    const answer = call(await this.#input(), {
      signal: this.#ending.signal,
      headers: this.#begin.metadata ?? {},
      ...(this.#begin.timeout_ms === undefined ? {} : { timeoutMs: this.#begin.timeout_ms }),
      onHeader: (headers) => {
        this.#headers = headers;
      },
      onTrailer: (trailers) => {
        this.#trailers = trailers;
      },
    });
    if (!(Symbol.asyncIterator in answer)) {
      this.#took(await answer);
      return false;
    }
    try {
      for await (const message of answer) {
        this.#took(message);
        if (this.#count === this.#begin.leave_after) {
          this.#cancelledAt = now();
          return true;
        }
        if (this.#count === this.#begin.cancel_after) this.cancel();
      }
    } finally {
      this.#ending.abort(); // Connect lets a call run on whose reader breaks off
    }
    return false;
  }

  async #input(): Promise<Message | AsyncIterable<Message>> {
    const kind = this.#method.methodKind;
    if (kind === "client_streaming" || kind === "bidi_streaming") return this.#requests;
    for await (const request of this.#requests) return request;
    return create(this.#method.input);
  }

  #took(message: Message): void {
    this.#count += 1;
    note(this.#typed, message);
    const bytes = Buffer.from(toBinary(this.#method.output, message)).toString("base64");
    if (this.#begin.progress) this.#say({ id: this.#begin.id, message: bytes });
    else this.#messages.push(bytes);
  }

  #answer(failed: ConnectError | undefined, hasLeft: boolean): object {
    const trailers = failed?.metadata ?? this.#trailers;
    return {
      id: this.#begin.id,
      code: failed ? codeName(failed.code) : hasLeft ? "CANCELLED" : "OK",
      message: failed?.rawMessage ?? "",
      messages: this.#messages,
      status_details: statusDetails(failed),
      headers: texts(this.#headers),
      trailers: texts(trailers),
      typed: this.#typed,
      ended_ms: now(),
      cancelled_ms: this.#cancelledAt,
    };
  }
}

function decoded(schema: DescMessage, text: string): Message {
  return fromBinary(schema, Buffer.from(text, "base64"));
}

function texts(headers: Headers): Record<string, string> {
  return Object.fromEntries([...headers].filter(([name]) => !name.endsWith("-bin")));
}

/** As a serialized `google.rpc.Status`, which Connect does not send: it is made of the details that are there. */
function statusDetails(failed: ConnectError | undefined): string {
  if (!failed) return "";
  const sent = failed.metadata.get("grpc-status-details-bin");
  if (sent !== null) return Buffer.from(sent, "base64").toString("base64"); // with padding
  const details = failed.details.map((detail) => {
    if ("desc" in detail) throw new TypeError("a detail that this program made itself");
    return create(AnySchema, { typeUrl: `type.googleapis.com/${detail.type}`, value: detail.value });
  });
  if (!details.length) return "";
  const status = create(StatusSchema, { code: failed.code, message: failed.rawMessage, details });
  return Buffer.from(toBinary(StatusSchema, status)).toString("base64");
}

function now(): number {
  return performance.timeOrigin + performance.now();
}
