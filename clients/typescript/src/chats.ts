/** Asks language models for replies. */

import type { MessageInitShape } from "@bufbuild/protobuf";

import { StepwireError } from "./errors.js";
import { type ChatEvent, chatEvent, finished, type Reply } from "./events.js";
import type { ChatOptionsSchema } from "./gen/stepwire/v1/chat_pb.js";
import type { MessageSchema } from "./gen/stepwire/v1/message_pb.js";
import { type CallOptions, callOptions } from "./options.js";
import type { Services } from "./services.js";

/** A message: a text of the user's, or `{role, text, images, toolUse, toolResult, …}`. */
export type MessageLike = string | MessageInitShape<typeof MessageSchema>;

/** What may be said of a reply that is asked for. */
export interface ChatArguments extends CallOptions {
  /** The messages so far, oldest first. */
  readonly messages?: readonly MessageLike[];
  /** Name or alias of a model. Default: the server's. */
  readonly model?: string;
  /** What the model is told before everything else; never stored. */
  readonly system?: string;
  /** Chat within this stored conversation: what is given here is appended to it, then the reply. */
  readonly conversationId?: string;
  /** With a conversation, the message to continue from. Default: its head. */
  readonly parentId?: string;
  /** With a conversation, fail unless it has this revision. */
  readonly ifRevision?: bigint;
  /** How to answer, and with which tools; what is not set is the provider's default. */
  readonly options?: MessageInitShape<typeof ChatOptionsSchema>;
  /** Makes the call safe to repeat: the same id and request get the same reply within 24 hours. */
  readonly requestId?: string;
  /** Your own key for the provider, where the server asks for its callers' keys. */
  readonly providerKey?: string;
}

/** Makes messages, in order. */
export function messagesOf(given: readonly MessageLike[] = []): MessageInitShape<typeof MessageSchema>[] {
  return given.map((message) => (typeof message === "string" ? { text: message } : message));
}

/** Asks for one reply, whole. */
export async function reply(services: Services, prompt: string, args: ChatArguments): Promise<Reply> {
  const response = await services.chat.chat(request(prompt, args), callOptions(args, headers(args)));
  if (!response.finished) throw cutOff();
  return { text: response.text, finished: finished(response.finished), isCached: response.cached };
}

/** Asks for one reply, as it is made. Leaving the loop ends the call, and with it the model. */
export async function* streamChat(
  services: Services,
  prompt: string,
  args: ChatArguments,
): AsyncGenerator<ChatEvent, void, undefined> {
  let isWhole = false;
  for await (const response of services.chat.streamChat(request(prompt, args), callOptions(args, headers(args)))) {
    const event = chatEvent(response);
    if (event) yield event;
    isWhole ||= event?.type === "finished";
  }
  if (!isWhole) throw cutOff(); // what there is may look whole, and is not
}

/** Both requests have the same fields. */
function request(prompt: string, args: ChatArguments) {
  const { signal: _signal, timeoutMs: _timeoutMs, providerKey: _key, messages, ...rest } = args;
  return { prompt, messages: messagesOf(messages), ...rest };
}

function headers({ providerKey }: ChatArguments): Record<string, string> {
  return providerKey ? { "x-provider-key": providerKey } : {};
}

function cutOff(): StepwireError {
  return new StepwireError("the reply ended without its last event", { code: "INTERNAL" });
}
