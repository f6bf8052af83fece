/** What goes into the calls of a conversation, checked, and what comes out of them, read. */

import { refused, StepwireError } from "../errors.js";
import type { ExportConversationResponse, RenderConversationResponse } from "../gen/stepwire/v1/conversation_pb.js";

/** Puts an export together. */
export function joined(parts: readonly ExportConversationResponse[]): string {
  const decoder = new TextDecoder(); // pieces end anywhere, within letters too
  return parts.map(({ chunk }) => decoder.decode(chunk, { stream: true })).join("") + decoder.decode();
}

/** Without an id the server would write the whole prompt. */
export function needed(messageId: string): string {
  if (!messageId) throw refused("message_id: is needed", "FIELD_REQUIRED");
  return messageId;
}

/** What is no text would be written as one. */
export function textIn(given: string, what: string): string {
  if (typeof given === "string") return given;
  throw refused(`${what}: is a ${typeof given} and no text`, "INVALID_MESSAGE");
}

/** The text of what was rendered. */
export function textOf([answer]: readonly RenderConversationResponse[]): string {
  return answer?.text ?? "";
}

/** Whether there is the message that an update is of. */
export function unlessMissing(act: () => unknown): boolean {
  try {
    act();
  } catch (thrown) {
    return falseIfMissing(thrown);
  }
  return true;
}

/** False, if that is what a call failed with. */
export function falseIfMissing(thrown: unknown): false {
  if (thrown instanceof StepwireError && thrown.reason === "MESSAGE_NOT_FOUND") return false;
  throw thrown;
}
