/**
 * Tells a lost connection as what it is. Node reports it as a cancel of each stream, as a reset of the socket, or by the
 * system call that failed.
 */

import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";

/** Makes it `Unavailable`, as it is in every other language, so that calls which may be repeated are. */
export const lost: Interceptor = (next) => async (request) => {
  try {
    const response = await next(request);
    return response.stream ? { ...response, message: told(response.message, request.signal) } : response;
  } catch (thrown) {
    throw asLost(thrown, request.signal);
  }
};

async function* told<M>(messages: AsyncIterable<M>, signal: AbortSignal): AsyncGenerator<M, void> {
  try {
    yield* messages;
  } catch (thrown) {
    throw asLost(thrown, signal);
  }
}

function asLost(thrown: unknown, signal: AbortSignal): unknown {
  if (signal.aborted || !(thrown instanceof ConnectError)) return thrown;
  const { code, rawMessage, metadata, cause } = thrown;
  const isLost =
    (code === Code.Canceled && rawMessage.startsWith("http/2 stream closed")) ||
    (code === Code.Aborted && cause instanceof Error && "code" in cause) ||
    (code === Code.Internal && cause instanceof Error && "syscall" in cause); // EPIPE, EHOSTUNREACH and the like
  return isLost ? new ConnectError("the connection was lost", Code.Unavailable, metadata, undefined, cause) : thrown;
}
