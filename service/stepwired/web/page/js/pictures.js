/** Pictures: those that a person adds, made small enough to be sent, and those that messages have, fetched to be shown. */

import { downloadPicture } from "./api.js";
import { nameOf } from "./words.js";

const MIB = 1024 * 1024;
export const EACH_BYTES = 4 * MIB;
export const ALL_BYTES = 8 * MIB;
export const MOST = 16;
const TYPES = new Set(["image/png", "image/jpeg", "image/webp", "image/gif"]);
/** What pictures that are too large are made to: models look at no more pixels than these. */
const LONGEST_SIDE = 2048;

/**
 * A picture as messages hold it. Read at once: the file may be another when it is sent. Throws an Error whose message
 * says what to do instead.
 */
export async function takeIn(file) {
  if (!file.type.startsWith("image/")) throw new Error(`“${file.name}” is no picture.`);
  const blob = TYPES.has(file.type) && file.size <= EACH_BYTES ? file : await smaller(file);
  return read(blob, nameOf(file) || "picture");
}

async function smaller(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error(`“${file.name}” cannot be read as a picture. PNG, JPEG, WebP and GIF can be sent.`);
  }
  const scale = Math.min(1, LONGEST_SIDE / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  canvas.getContext("2d").drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  const blob = await new Promise((done) => canvas.toBlob(done, "image/webp", 0.9));
  if (!blob || blob.size > EACH_BYTES) throw new Error(`“${file.name}” is larger than 4 MiB, also when made smaller.`);
  return blob;
}

async function read(blob, name) {
  const url = await new Promise((done, fail) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = () => fail(new Error(`“${name}” cannot be read any more. Choose it again.`));
    reader.readAsDataURL(blob);
  });
  return { data: url.slice(url.indexOf(",") + 1), name };
}

/** How large a message's picture is, where its bytes are here. */
export const bytesOf = ({ data = "" }) => (data.length / 4) * 3;

const kept = new Map();

/** Puts a message's picture into an `img`: bytes that are here, or stored ones. Addresses elsewhere are never asked. */
export async function show(img, image) {
  if (image.data) {
    img.src = `data:${image.mediaType || "image/png"};base64,${image.data}`;
  } else if (image.blobId) {
    if (!kept.has(image.blobId)) kept.set(image.blobId, downloadPicture(image.blobId).then((blob) => URL.createObjectURL(blob)));
    try {
      img.src = await kept.get(image.blobId);
    } catch {
      kept.delete(image.blobId); // the next look may have more luck
      img.alt = `${img.alt} (it could not be loaded)`;
    }
  }
}
