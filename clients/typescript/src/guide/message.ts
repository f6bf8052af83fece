/** The guide's messages: made for the wire, and read from the server's export. */

import { create, fromJson, type JsonObject, type MessageInitShape } from "@bufbuild/protobuf";
import { type Timestamp, TimestampSchema } from "@bufbuild/protobuf/wkt";

import { refused } from "../errors.js";
import { type Message, MessageSchema } from "../gen/stepwire/v1/message_pb.js";
import { fromValue, toValue } from "../steps/values.js";

/** An object that JSON can say; that it can is seen when it is sent. */
export type Metadata = Readonly<Record<string, any>>;

/** What may be said of any message that is added. */
export interface MessageOptions {
  /** Additional metadata. `{hidden: true}` keeps the message from models. */
  readonly metadata?: Metadata;
  /** The message that this one follows. Default: the head. */
  readonly parentID?: string;
  /** When it was made, as RFC 3339. Default: now. */
  readonly time?: string;
  /** Its id: 1 to 128 of `A-Z a-z 0-9 . _ : -`. Default: a new UUID. */
  readonly id?: string;
}

/** The names of these options. */
export const MESSAGE_OPTIONS = ["metadata", "parentID", "time", "id"] as const satisfies (keyof MessageOptions)[];

interface Common {
  id: string;
  parentID: string;
  time: Date;
  lastUpdate: Date;
  metadata: JsonObject;
  /** The fields of its type once more, with capital letters. */
  readonly Content: Readonly<Record<string, unknown>>;
}

/** A picture of a message; the URL of one that the server keeps is its id, `sha256:…`. */
export interface GuideImage {
  imageURL: string;
  imageName: string;
  mediaType: string;
  detail: string;
}

/** A message as `GetMessages` returns it. */
export type GuideMessage = Common &
  (
    | { type: "chat-message"; role: string; text: string; images?: GuideImage[] }
    | { type: "tool-use"; toolID: string; name: string; input: JsonObject; toolType: string }
    | { type: "tool-result"; toolID: string; result: string }
  );

type Content = Omit<MessageInitShape<typeof MessageSchema>, "$typeName">;

/** Makes a message. Throws what it is refused for. */
export function madeMessage(id: string, options: MessageOptions, content: Content): Message {
  const { metadata, parentID, time } = options;
  return create(MessageSchema, {
    ...content,
    id,
    ...(parentID === undefined ? {} : { parentId: parentID }),
    ...(metadata === undefined ? {} : { metadata: jsonObject(metadata, "metadata", "INVALID_METADATA") }),
    ...(time === undefined ? {} : { createTime: timestamp(time) }),
  });
}

const COMMON = new Set(["id", "parentID", "time", "lastUpdate", "metadata", "type"]);

/** Reads what `ExportConversation` writes in the guide's format. */
export function readMessages(text: string): GuideMessage[] {
  return (JSON.parse(text) as JsonObject[]).map((each) => {
    const message = { ...each, time: new Date(String(each["time"])), lastUpdate: new Date(String(each["lastUpdate"])) };
    const own = Object.entries(each).filter(([name]) => !COMMON.has(name));
    const value = Object.fromEntries(own.map(([name, field]) => [name[0]?.toUpperCase() + name.slice(1), field]));
    return Object.defineProperty(message, "Content", { value }) as unknown as GuideMessage;
  });
}

/** What JSON can say, as an object; what it cannot is refused here, as protobuf's JSON would leave it out. */
export function jsonObject(given: unknown, what: string, reason: string): JsonObject {
  try {
    const made = fromValue(toValue(given));
    if (typeof made === "object" && made !== null && !Array.isArray(made)) return made;
  } catch (thrown) {
    throw refused(`${what}: ${(thrown as Error).message}`, reason);
  }
  throw refused(`${what}: is no object`, reason);
}

function timestamp(time: string): Timestamp {
  try {
    return fromJson(TimestampSchema, time);
  } catch {
    throw refused(`\`${time}\` is no time with a zone, such as 2024-01-01T00:00:00Z`, "INVALID_TIME");
  }
}
