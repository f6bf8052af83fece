/** Pictures on their way into messages. */

import platform from "#platform";
import { create } from "@bufbuild/protobuf";

import { refused, StepwireError } from "./errors.js";
import { type Image, ImageSchema } from "./gen/stepwire/v1/message_pb.js";

/** What a message can carry; larger ones are uploaded first. */
export const MAX_INLINE_BYTES = 4 * 1024 * 1024;
/** How large the pieces of an upload are. */
export const CHUNK_BYTES = 256 * 1024;

const MAX_BYTES = 20 * 1024 * 1024;

/** How long the base64 of such a picture may be, with room for the ends of its lines. */
const MAX_ENCODED = 1.5 * MAX_BYTES;

/** How much of a path an error repeats; a path that is longer may be a picture's content. */
const NAMED_LENGTH = 512;

/**
 * A picture: path of a file here, or its `file` URL (in Node), an `http` or `https` URL, a `data` URL in base64, bytes, what
 * UploadImage returned, or the real thing.
 */
export type PictureLike = string | Uint8Array | Image;

/**
 * Makes a picture for a message. A file is read here and now; the server never sees its path.
 *
 * @throws {StepwireError} The file cannot be read, the URL is damaged, or the picture has more than 20 MiB.
 */
export function image(source: PictureLike, about: { readonly name?: string; readonly detail?: string } = {}): Image {
  if (typeof source === "object" && "$typeName" in source) return create(ImageSchema, { ...source, ...about });
  if (typeof source !== "string") return create(ImageSchema, { source: bytes(new Uint8Array(source)), ...about });
  if (/^https?:\/\//i.test(source)) return create(ImageSchema, { source: { case: "uri", value: source }, ...about });
  if (/^sha256:[0-9a-f]{64}$/.test(source)) {
    return create(ImageSchema, { source: { case: "blobId", value: source }, ...about });
  }
  if (/^data:/i.test(source)) return create(ImageSchema, { source: bytes(decoded(source)), ...about });
  return create(ImageSchema, { source: bytes(read(source)), name: nameOf(source), ...about });
}

/** The pieces of an upload. */
export function* pieces(data: Uint8Array): Generator<Uint8Array<ArrayBuffer>> {
  for (let start = 0; start < data.length; start += CHUNK_BYTES)
    yield new Uint8Array(data.slice(start, start + CHUNK_BYTES));
}

function bytes(value: Uint8Array<ArrayBuffer>) {
  if (value.length > MAX_BYTES) {
    throw refused(`a picture has at most ${MAX_BYTES} bytes, and this one has ${value.length}`, "IMAGE_TOO_LARGE");
  }
  return { case: "data" as const, value };
}

/** What a `data` URL holds. */
function decoded(url: string): Uint8Array<ArrayBuffer> {
  const comma = url.indexOf(",");
  if (!/;base64$/i.test(url.slice(0, Math.max(comma, 0)))) {
    throw refused("a `data` URL of a picture has to be in base64", "FIELD_INVALID");
  }
  if (url.length - comma > MAX_ENCODED) throw refused(`a picture has at most ${MAX_BYTES} bytes`, "IMAGE_TOO_LARGE");
  let content: string;
  try {
    content = atob(url.slice(comma + 1));
  } catch {
    throw refused("the base64 of a `data` URL is damaged", "FIELD_INVALID");
  }
  const made = new Uint8Array(content.length); // `from` would make a list of all the characters first
  for (let at = 0; at < made.length; at++) made[at] = content.charCodeAt(at);
  return made;
}

const FILE = /^file:\/\//i;

function read(path: string): Uint8Array<ArrayBuffer> {
  if (FILE.test(path) && !/^file:\/\/(localhost)?\//i.test(path)) {
    throw refused("a `file` URL names a file of another machine", "FIELD_INVALID");
  }
  const facts = { code: "NOT_FOUND", reason: "FILE_NOT_FOUND" };
  try {
    return platform.readFile(path);
  } catch (cause) {
    if (path.length > NAMED_LENGTH) throw new StepwireError("the picture cannot be read: its path is too long", facts);
    throw new StepwireError(`the picture cannot be read: ${(cause as Error).message}`, facts, { cause });
  }
}

/** What people call a file that was read. */
function nameOf(path: string): string {
  const name = path.replace(/^.*[/\\]/, "");
  return FILE.test(path) ? decodeURIComponent(name) : name;
}
