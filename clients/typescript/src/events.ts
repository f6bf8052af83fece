/** The events of a reply, as people like to read them. */

import type { JsonValue } from "@bufbuild/protobuf";
import { toJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";

import {
  type ChatFinished,
  FinishReason as WireReason,
  type StreamChatResponse,
  type TokenLogprob,
  type ToolCall,
} from "./gen/stepwire/v1/chat_pb.js";
import type { Message, ToolResult, ToolUse, Usage as WireUsage } from "./gen/stepwire/v1/message_pb.js";

/** Why a reply ended. */
export type FinishReason = "unknown" | "stop" | "length" | "contentFilter" | "toolUse";

/** Tokens of one reply. Undefined is unknown, which is not the same as 0. */
export interface Usage {
  readonly inputTokens: number | undefined;
  readonly outputTokens: number | undefined;
  readonly reasoningTokens: number | undefined;
  readonly cachedInputTokens: number | undefined;
  /** US dollars, by the server's price table. */
  readonly costUsd: number | undefined;
}

/** The model has begun to answer. First event. */
export interface Started {
  readonly type: "started";
  readonly text: "";
  /** The model that answers, as its provider names it. */
  readonly model: string;
  /** The endpoint it is asked through. */
  readonly provider: string;
  /** Whether this is the kept reply to an earlier call with the same `requestId`. */
  readonly isReplayed: boolean;
  readonly isCached: boolean;
}

/** More of the reply. */
export interface TextDelta {
  readonly type: "text";
  readonly text: string;
  /** How many of the provider's own pieces are joined here. */
  readonly deltaCount: number;
  readonly logprobs: readonly TokenLogprob[];
}

/** More of what the model thinks; no part of the reply. */
export interface ReasoningDelta {
  readonly type: "reasoning";
  readonly text: "";
  readonly reasoning: string;
}

/** More of a model's wish to have a tool called; whole once there is a `toolUse`. */
export interface ToolCallDelta {
  readonly type: "toolCall";
  readonly text: "";
  readonly index: number;
  readonly toolId: string;
  readonly name: string;
  readonly argumentsDelta: string;
  readonly toolUse: ToolUse | undefined;
}

/** A tool of the server has answered. */
export interface ToolAnswered {
  readonly type: "toolResult";
  readonly text: "";
  readonly toolResult: ToolResult;
}

/** The reply begins anew: forget its text so far. Only with the option `restart`. */
export interface Restarted {
  readonly type: "restarted";
  readonly text: "";
  readonly attempt: number;
  readonly reason: string;
}

/** The reply is whole. Last event. */
export interface Finished {
  readonly type: "finished";
  readonly text: "";
  readonly reason: FinishReason;
  readonly model: string;
  readonly provider: string;
  readonly usage: Usage;
  /** What the model said, as it was stored, or would be. */
  readonly messages: readonly Message[];
  /** Whether the reply lies on a branch, because the conversation went on meanwhile. */
  readonly isBranched: boolean;
  /** The reply as JSON, where a form was asked for. */
  readonly structured: JsonValue | undefined;
  /** The wire's message, which has more. */
  readonly proto: ChatFinished;
}

/** One event of a reply. The `text` of all, joined, is the reply; `restarted` begins it anew. */
export type ChatEvent = Started | TextDelta | ReasoningDelta | ToolCallDelta | ToolAnswered | Restarted | Finished;

/** A whole reply. */
export interface Reply {
  readonly text: string;
  readonly finished: Finished;
  readonly isCached: boolean;
}

const REASONS: Readonly<Record<number, FinishReason>> = {
  [WireReason.STOP]: "stop",
  [WireReason.LENGTH]: "length",
  [WireReason.CONTENT_FILTER]: "contentFilter",
  [WireReason.TOOL_USE]: "toolUse",
};

/** Reads one event; undefined for a kind that this version does not know. */
export function chatEvent({ event }: StreamChatResponse): ChatEvent | undefined {
  switch (event.case) {
    case "started": {
      const { model, provider, replayed, cached } = event.value;
      return { type: "started", text: "", model, provider, isReplayed: replayed, isCached: cached };
    }
    case "textDelta": {
      const { text, deltaCount, logprobs } = event.value;
      return { type: "text", text, deltaCount, logprobs };
    }
    case "reasoningDelta":
      return { type: "reasoning", text: "", reasoning: event.value.text };
    case "toolCall":
      return toolCall(event.value);
    case "toolResult":
      return { type: "toolResult", text: "", toolResult: event.value };
    case "restarted":
      return { type: "restarted", text: "", attempt: event.value.attempt, reason: event.value.reason };
    case "finished":
      return finished(event.value);
    default:
      return undefined;
  }
}

function toolCall(call: ToolCall): ToolCallDelta {
  const { index = 0, toolId, name, argumentsDelta, toolUse } = call;
  return { type: "toolCall", text: "", index, toolId, name, argumentsDelta, toolUse };
}

/** Reads how a reply ended. */
export function finished(proto: ChatFinished): Finished {
  return {
    type: "finished",
    text: "",
    reason: REASONS[proto.reason] ?? "unknown",
    model: proto.model,
    provider: proto.provider,
    usage: usage(proto.usage),
    messages: proto.messages,
    isBranched: proto.branched ?? false,
    structured: proto.structured && toJson(ValueSchema, proto.structured),
    proto,
  };
}

function usage(proto: WireUsage | undefined): Usage {
  return {
    inputTokens: proto?.inputTokenCount,
    outputTokens: proto?.outputTokenCount,
    reasoningTokens: proto?.reasoningTokenCount,
    cachedInputTokens: proto?.cachedInputTokenCount,
    costUsd: proto?.costUsd,
  };
}
