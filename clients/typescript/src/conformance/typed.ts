/** What the users of this language read out of answers and failures, by their types. */

import type { Message } from "@bufbuild/protobuf";
import { isMessage } from "@bufbuild/protobuf";
import type { ConnectError } from "@connectrpc/connect";

import { ErrorInfoSchema } from "../gen/google/rpc/error_details_pb.js";
import { ChatResponseSchema, StreamChatResponseSchema } from "../gen/stepwire/v1/chat_pb.js";
import { EmbedResponseSchema } from "../gen/stepwire/v1/embed_pb.js";

export interface Typed {
  text?: string;
  dimensions?: number;
  sum?: number;
  reason?: string;
}

/** Takes up one message of an answer. */
export function note(typed: Typed, message: Message): void {
  if (isMessage(message, StreamChatResponseSchema)) {
    typed.text ??= "";
    if (message.event.case === "textDelta") typed.text += message.event.value.text;
  } else if (isMessage(message, ChatResponseSchema)) {
    typed.text = message.text;
  } else if (isMessage(message, EmbedResponseSchema)) {
    const values = message.embeddings[0]?.values ?? [];
    typed.dimensions = values.length;
    typed.sum = values.reduce((sum, value) => sum + value, 0);
  }
}

/** Takes up why a call failed. */
export function noteFailure(typed: Typed, failed: ConnectError): void {
  const [info] = failed.findDetails(ErrorInfoSchema);
  if (info) typed.reason = info.reason;
}
