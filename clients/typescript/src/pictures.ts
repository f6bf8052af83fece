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

/** A picture: path of a file here (in Node), an `http` or `https` URL, bytes, what UploadImage returned, or the real thing. */
export type PictureLike = string | Uint8Array | Image;

/**
 * Makes a picture for a message. A file is read here and now; the server never sees its path.
 *
 * @throws {StepwireError} The file cannot be read, or the picture has more than 20 MiB.
 */
export function image(source: PictureLike, about: { readonly name?: string; readonly detail?: string } = {}): Image {
  if (typeof source === "object" && "$typeName" in source) return create(ImageSchema, { ...source, ...about });
  if (typeof source !== "string") return create(ImageSchema, { source: bytes(new Uint8Array(source)), ...about });
  if (/^https?:\/\//i.test(source)) return create(ImageSchema, { source: { case: "uri", value: source }, ...about });
  if (/^sha256:[0-9a-f]{64}$/.test(source)) {
    return create(ImageSchema, { source: { case: "blobId", value: source }, ...about });
  }
  return create(ImageSchema, { source: bytes(read(source)), name: source.replace(/^.*[/\\]/, ""), ...about });
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

function read(path: string): Uint8Array<ArrayBuffer> {
  try {
    return platform.readFile(path);
  } catch (cause) {
    const facts = { code: "NOT_FOUND", reason: "FILE_NOT_FOUND" };
    throw new StepwireError(`the picture cannot be read: ${(cause as Error).message}`, facts, { cause });
  }
}
