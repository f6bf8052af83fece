/** JSON as JavaScript has it, to and from protobuf's `Value`. */

import { create, createRegistry, isMessage, type JsonObject, type JsonValue, toJson } from "@bufbuild/protobuf";
import { ListValueSchema, NullValue, StructSchema, type Value, ValueSchema } from "@bufbuild/protobuf/wkt";

import { refused, type StepwireError } from "../errors.js";
import { file_stepwire_v1_chat } from "../gen/stepwire/v1/chat_pb.js";
import { file_stepwire_v1_message, type Message } from "../gen/stepwire/v1/message_pb.js";
import type { CallOptions } from "../options.js";

/** Lists and objects that may lie inside each other, as for the server: protobuf reads little more. */
export const MAX_DEPTH = 32;

const messages = createRegistry(file_stepwire_v1_message, file_stepwire_v1_chat);

/** What keeps messages for a model, such as a `Conversation`. In a value, it stands for its messages. */
export interface KeepsMessages {
  /** The messages that a model is sent, oldest first, as they are when this is called. */
  wireMessages(options?: CallOptions): Promise<readonly Message[]>;
  /** The same, while this thread waits. */
  wireMessagesBlocking(): readonly Message[];
}

/** Whether it keeps messages. */
export function keepsMessages(value: unknown): value is KeepsMessages {
  return typeof value === "object" && value !== null && "wireMessages" in value && "wireMessagesBlocking" in value;
}

/** The places in a value whose messages are still to be read. */
export type Unread = { readonly from: KeepsMessages; readonly value: Value }[];

/**
 * Makes a `Value` of what JSON can say. `undefined` counts as null, typed arrays are lists, what has `toJSON` (a
 * `Date`) is that, and messages of this package are their JSON.
 *
 * @param unread Gets the places of conversations, which are then to be filled by `filled` or `filledBlocking`.
 * @throws {StepwireError} JSON cannot say it, such as NaN, a function or half a surrogate pair, or it is too deep.
 */
export function toValue(value: unknown, unread?: Unread): Value {
  return made(value, MAX_DEPTH, unread);
}

/** Fills the places of conversations with their messages as they are now. */
export async function filled(unread: Unread, options: CallOptions): Promise<void> {
  await Promise.all(
    unread.map(async ({ from, value }) => {
      value.kind = toValue(await from.wireMessages(options)).kind;
    }),
  );
}

/** The same, while this thread waits. */
export function filledBlocking(unread: Unread): void {
  for (const { from, value } of unread) value.kind = toValue(from.wireMessagesBlocking()).kind;
}

function made(value: unknown, depth: number, unread: Unread | undefined): Value {
  switch (typeof value) {
    case "undefined":
      return of({ case: "nullValue", value: NullValue.NULL_VALUE });
    case "boolean":
      return of({ case: "boolValue", value });
    case "number":
      if (!Number.isFinite(value)) throw notJson(`${value} is no number of JSON`);
      return of({ case: "numberValue", value });
    case "string":
      return of({ case: "stringValue", value: wellFormed(value) });
    case "object":
      return value === null ? made(undefined, depth, unread) : madeOfObject(value, depth, unread);
    default:
      throw notJson(`a ${typeof value} is not JSON`);
  }
}

function of(kind: Value["kind"]): Value {
  return create(ValueSchema, { kind });
}

function madeOfObject(value: object, depth: number, unread: Unread | undefined): Value {
  if (keepsMessages(value)) {
    if (!unread) throw notJson("a conversation cannot stand here: give its messages");
    const place = made(undefined, depth, unread);
    unread.push({ from: value, value: place });
    return place;
  }
  if ("toJSON" in value && typeof value.toJSON === "function") return made(value.toJSON(), depth, unread);
  if (Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView))) {
    const left = below(depth);
    const values = Array.from(value as ArrayLike<unknown>, (item) => made(item, left, unread));
    return of({ case: "listValue", value: create(ListValueSchema, { values }) });
  }
  if (isMessage(value)) {
    const schema = messages.getMessage(value.$typeName);
    if (!schema) throw notJson(`a ${value.$typeName} is not JSON`);
    return made(toJson(schema, value), depth, unread);
  }
  const tag = Object.prototype.toString.call(value).slice(8, -1);
  if (tag !== "Object" && tag !== "Error") throw notJson(`a ${tag} is not JSON`);
  const left = below(depth);
  const fields: Record<string, Value> = {};
  for (const [name, item] of Object.entries(value)) {
    if (item !== undefined) put(fields, wellFormed(name), made(item, left, unread));
  }
  return of({ case: "structValue", value: create(StructSchema, { fields }) });
}

function below(depth: number): number {
  if (depth === 0) {
    throw notJson(`lists and objects are nested too deep: at most ${MAX_DEPTH} may lie inside each other`);
  }
  return depth - 1;
}

function notJson(why: string): StepwireError {
  return refused(why, "FIELD_INVALID");
}

function wellFormed(text: string): string {
  // What is no UTF-16 would arrive as another text.
  if (/\p{Surrogate}/u.test(text)) throw notJson("a text holds half a surrogate pair");
  return text;
}

/** Sets a field, `__proto__` too. */
function put<T>(fields: Record<string, T>, name: string, value: T): void {
  Object.defineProperty(fields, name, { value, enumerable: true, configurable: true, writable: true });
}

/** Reads a `Value`. One that says nothing is null. */
export function fromValue(value: Value | undefined): JsonValue {
  switch (value?.kind.case) {
    case "numberValue":
    case "stringValue":
    case "boolValue":
      return value.kind.value;
    case "listValue":
      return value.kind.value.values.map(fromValue);
    case "structValue": {
      const fields: JsonObject = {};
      for (const [name, item] of Object.entries(value.kind.value.fields)) put(fields, name, fromValue(item));
      return fields;
    }
    default:
      return null;
  }
}
