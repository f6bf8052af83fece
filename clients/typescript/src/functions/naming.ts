/** What functions are called on the wire. */

import type { Closure } from "./functions.js";

/** The name of a function; empty for one that has none. */
export function title(closure: Closure): string {
  return typeof closure.name === "string" ? cut(closure.name, 120) : "";
}

/** Cuts a text to so many bytes of UTF-8. Half a surrogate pair becomes U+FFFD. */
export function cut(text: string, limitBytes: number): string {
  const bytes = new TextEncoder().encode(text);
  if (bytes.length <= limitBytes) return new TextDecoder().decode(bytes);
  let end = limitBytes;
  while (end > 0 && ((bytes[end] ?? 0) & 0xc0) === 0x80) end -= 1;
  return new TextDecoder().decode(bytes.subarray(0, end));
}
