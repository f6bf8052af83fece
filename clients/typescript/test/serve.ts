/** Where the tests find their server, and what they ask its provider. */

import { connect, type Client } from "stepwire";

export const address = process.env["STEPWIRE_ADDRESS"] ?? "127.0.0.1:50051";

/** A client of the server, which the test need not close: a connection at rest keeps no process. */
export function client(): Client {
  return connect(address);
}

/** A prompt that no other test has: its first word says what the provider does. */
export function prompt(word: string): string {
  return `${word} ${crypto.randomUUID()}`;
}

/** Waits until the provider is asked this. */
export function asked(prompt: string): Promise<void> {
  return seen("asked", prompt);
}

/** Waits until the provider's sockets are closed on which it was asked this. */
export function closed(prompt: string): Promise<void> {
  return seen("closed", prompt);
}

async function seen(what: string, prompt: string): Promise<void> {
  const answer = await fetch(`${process.env["STEPWIRE_CONTROL"]}/${what}/${encodeURIComponent(prompt)}`);
  if (!answer.ok) throw new Error(`the provider has not seen ${what}: ${answer.status}`);
}
