/** What a chat step of the guide takes, and how it is written for the server. */

import { isMessage, type JsonObject, type JsonValue } from "@bufbuild/protobuf";

import { refused } from "../errors.js";
import { type Message, MessageSchema } from "../gen/stepwire/v1/message_pb.js";
import { chatOptions } from "../steps/leaves.js";
import { RESTARTS, restarts } from "../steps/restarts.js";
import type { KeepsMessages } from "../steps/values.js";

/** How to answer. Others than these are options of a chat too, spelled as in the JSON of `ChatOptions`. */
export interface ChatSettings {
  /** Name or alias of a model. Default: the server's. */
  model?: string;
  /** What the model is told first. */
  system?: string;
  /** How freely it writes, 0 to 2. */
  temperature?: number;
  /** How many tokens it writes at most. */
  maxTokens?: number;
  /** Of how much probability its words are, 0 to 1. */
  topP?: number;
  [option: string]: unknown;
}

/** A message: its text, `{role, content}` as in the guide, or `{role, text}` and what else a `Message` has. */
export type ChatMessage =
  | string
  | Message
  | { readonly role?: string; readonly content: string }
  | { readonly role?: string; readonly text?: string; readonly [field: string]: unknown };

/** What a chat step takes: a conversation, `{messages: […], temperature, maxTokens, …}`, a text, or messages. */
export type ChatInput =
  | KeepsMessages
  | string
  | readonly ChatMessage[]
  | (ChatSettings & { readonly messages?: readonly ChatMessage[]; readonly prompt?: string });

/** An input as the server's chat step takes it. */
export type ChatRequest = Record<string, unknown>;

/** Writes an input for the server. What the input itself says wins over the settings. */
export function chatRequest(
  input: Exclude<ChatInput, KeepsMessages> | readonly Message[],
  settings: ChatSettings,
): ChatRequest {
  const request: ChatRequest = {};
  const options: JsonObject = {};
  put(request, options, settings);
  if (typeof input === "object" && input !== null && !Array.isArray(input) && !("role" in input)) {
    const { messages, prompt, ...others } = input as ChatSettings & { messages?: readonly ChatMessage[] };
    put(request, options, others);
    if (messages !== undefined) request["messages"] = written(messages);
    if (prompt !== undefined) request["prompt"] = prompt;
  } else {
    request["messages"] = written(Array.isArray(input) ? input : [input]);
  }
  checkOptions(options); // the server would not say which it was
  return { ...request, options };
}

/**
 * Checks settings.
 *
 * @throws {StepwireError} There is no such option, or it cannot be what it is.
 */
export function checkSettings(settings: ChatSettings): void {
  const options: JsonObject = {};
  put({}, options, settings);
  checkOptions(options);
}

/** Pieces of a reply are given as they come, and nobody would be told that they no longer hold. */
function checkOptions(options: JsonObject): void {
  if (restarts(chatOptions(options))) throw refused(`restart, responseFormat.retry: ${RESTARTS}`, "FIELD_INVALID");
}

/** Sorts settings into a request and its options. */
function put(request: ChatRequest, options: JsonObject, settings: ChatSettings): void {
  for (const [name, value] of Object.entries(settings)) {
    if (value === undefined) continue;
    if (name === "model" || name === "system") request[name] = value;
    else if (name === "options") Object.assign(options, value);
    else options[name] = value as JsonValue;
  }
}

function written(messages: unknown): unknown[] {
  if (!Array.isArray(messages)) throw refused("`messages` is a list", "INVALID_CONVERSATION");
  return messages.filter((message) => !isEmptyReply(message)).map((message: unknown) => {
    if (typeof message === "string") return { text: message };
    if (typeof message !== "object" || message === null) throw refused("a message is an object", "INVALID_MESSAGE");
    if (isMessage(message, MessageSchema) || !("content" in message)) return message;
    const { content, ...others } = message;
    return { ...others, text: content };
  });
}

/** Whether it says nothing: what a chat that is cancelled before its first word leaves behind, and no model takes. */
function isEmptyReply(message: unknown): boolean {
  if (typeof message !== "object" || message === null || !("role" in message) || message.role !== "assistant") return false;
  if (isMessage(message, MessageSchema)) {
    return message.text === "" && message.images.length === 0 && !message.toolUse && !message.toolResult;
  }
  const { role: _, content, text, ...others } = message as { role: string; content?: unknown; text?: unknown };
  return Object.keys(others).length === 0 && (content ?? "") === "" && (text ?? "") === "";
}
