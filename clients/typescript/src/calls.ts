/** Makes any call, known only by its method: for calls that come from another thread, or wait in a lane. */

import type { DescMessage, DescMethod, DescMethodStreaming, DescMethodUnary, Message } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";

/** All messages that a call was answered with. */
export type Answer = Message[];

/** Makes a call and collects its answer. Several requests are for streams of requests. */
export async function invoke(
  transport: Transport,
  method: DescMethod,
  request: unknown,
  timeoutMs?: number,
): Promise<Answer> {
  if (method.methodKind === "unary") {
    const unary = method as DescMethodUnary<DescMessage, DescMessage>;
    const { message } = await transport.unary(unary, undefined, timeoutMs, undefined, request as Message);
    return [message];
  }
  const requests = (Array.isArray(request) ? request : [request]) as Message[];
  const streaming = method as DescMethodStreaming<DescMessage, DescMessage>;
  const { message } = await transport.stream(streaming, undefined, timeoutMs, undefined, eachOf(requests));
  return Array.fromAsync(message);
}

/** A stream of what is there already. */
export async function* eachOf<M>(messages: readonly M[]): AsyncGenerator<M, void> {
  yield* messages;
}
