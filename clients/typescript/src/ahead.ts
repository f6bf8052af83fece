/** Reads ahead of a slow reader, in calls in which both sides talk. */

/** Messages that may wait for a slow reader. */
const MAX_AHEAD = 256;

/**
 * Yields what comes, and reads on meanwhile.
 *
 * A server that ends a call of which the caller's half is still open resets the stream behind its trailers, and Node
 * then drops what was not read at once: the status would be lost, and `Premature close` told in its place.
 *
 * Whoever leaves has to end the source by other means, since this may be waiting for it.
 */
export async function* ahead<T>(source: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
  const waiting: T[] = [];
  let wake: () => void = () => undefined;
  let goOn: () => void = () => undefined;
  let isLeft = false;
  let isOver = false;
  const reading = (async () => {
    for await (const item of source) {
      waiting.push(item);
      wake();
      while (waiting.length >= MAX_AHEAD && !isLeft) await new Promise<void>((resolve) => (goOn = resolve));
      if (isLeft) return;
    }
  })().finally(() => {
    isOver = true;
    wake();
  });
  reading.catch(() => undefined); // told below, if anybody is still there
  try {
    while (!isOver || waiting.length > 0) {
      const item = waiting.shift();
      if (item === undefined) {
        await new Promise<void>((resolve) => (wake = resolve));
      } else {
        goOn();
        yield item;
      }
    }
    await reading;
  } finally {
    isLeft = true;
    goOn();
  }
}
