/** Makes any call, known only by its method: for calls that come from another thread, or wait in a lane. */

import {
  create,
  type DescMessage,
  type DescMethod,
  type DescMethodStreaming,
  type DescMethodUnary,
  type Message,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";

import { refused } from "./errors.js";

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

/**
 * Writes a message for the wire.
 *
 * @throws {StepwireError} A field holds what it cannot.
 */
export function packed<T extends DescMessage>(schema: T, message: MessageInitShape<T>): Uint8Array {
  try {
    return toBinary(schema, create(schema, message));
  } catch (thrown) {
    throw refused((thrown as Error).message, "FIELD_INVALID");
  }
}
