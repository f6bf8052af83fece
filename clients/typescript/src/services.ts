/** The services as the protos have them, typed, with this package's errors and with calls that end when their reader leaves. */

import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { type CallOptions, type Client, ConnectError, createClient, type Transport } from "@connectrpc/connect";

import { ahead } from "./ahead.js";
import { ClientClosed, ofCall } from "./errors.js";
import { ChatService } from "./gen/stepwire/v1/chat_pb.js";
import { ConversationService } from "./gen/stepwire/v1/conversation_pb.js";
import { EmbedService } from "./gen/stepwire/v1/embed_pb.js";
import { PipelineService } from "./gen/stepwire/v1/pipeline_pb.js";
import { StepRunService } from "./gen/stepwire/v1/step_run_pb.js";

const ALL = {
  chat: ChatService,
  embed: EmbedService,
  conversations: ConversationService,
  stepRuns: StepRunService,
  pipelines: PipelineService,
} as const;

/** A client for each service. Every call takes `{signal, timeoutMs, headers}` and fails with `StepwireError`. */
export type Services = { readonly [Name in keyof typeof ALL]: Client<(typeof ALL)[Name]> };

const METHODS = new Map<string, DescMethod>(
  Object.values<DescService>(ALL).flatMap((service) =>
    service.methods.map((method) => [`${service.typeName}/${method.name}`, method] as const),
  ),
);

/** The method of that name, such as `stepwire.v1.ChatService/Chat`. */
export function methodNamed(path: string): DescMethod {
  const method = METHODS.get(path);
  if (!method) throw new TypeError(`there is no method ${path}`);
  return method;
}

/** Where calls go. */
interface Peer {
  readonly transport: Transport;
  /** What errors call it. */
  readonly address: string;
  readonly isClosed: boolean;
}

/** Makes the clients of all services of one server. */
export function makeServices(peer: Peer): Services {
  const made = Object.entries<DescService>(ALL).map(([name, service]) => [name, clientOf(service, peer)]);
  return Object.fromEntries(made) as Services;
}

type AnyCall = (input: unknown, options?: CallOptions) => unknown;

function clientOf(service: DescService, peer: Peer): Record<string, AnyCall> {
  const raw = createClient(service, peer.transport) as unknown as Record<string, AnyCall>;
  const calls = service.methods.map((method): [string, AnyCall] => {
    const call = raw[method.localName] as AnyCall;
    const answersOnce = method.methodKind === "unary" || method.methodKind === "client_streaming";
    return [
      method.localName,
      answersOnce
        ? (input, options) => once(() => call(input, options) as Promise<unknown>, peer, options?.signal)
        : (input, options) => many(method, call as ManyCall, input, options, peer),
    ];
  });
  return Object.fromEntries(calls);
}

async function once<M>(call: () => Promise<M>, peer: Peer, signal?: AbortSignal): Promise<M> {
  if (peer.isClosed) throw new ClientClosed();
  try {
    return await call();
  } catch (thrown) {
    throw ofCall(thrown, peer.address, signal);
  }
}

type ManyCall = (input: unknown, options?: CallOptions) => AsyncIterable<unknown>;

/** Connect leaves a call running whose reader breaks off; here that ends it. */
async function* many(
  { methodKind }: DescMethod,
  call: ManyCall,
  input: unknown,
  options: CallOptions | undefined,
  peer: Peer,
): AsyncGenerator<unknown, void> {
  if (peer.isClosed) throw new ClientClosed();
  const left = new AbortController();
  const signal = options?.signal ? AbortSignal.any([options.signal, left.signal]) : left.signal;
  let answer: AsyncIterable<unknown> | undefined;
  try {
    answer = call(input, { ...options, signal });
    yield* methodKind === "bidi_streaming" ? ahead(answer) : answer;
  } catch (thrown) {
    throw ofCall(thrown, peer.address, options?.signal);
  } finally {
    left.abort(new ConnectError("the reader left"));
    release(answer);
  }
}

/** Connect stops the clock of a call that was ended only when somebody reads on; until then it keeps the process. */
export function release(ended: AsyncIterable<unknown> | undefined): void {
  ended?.[Symbol.asyncIterator]()
    .next()
    .catch(() => undefined);
}
