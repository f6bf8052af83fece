/** Names that nobody else gives. */

/** 32 hexadecimal digits. Unlike `crypto.randomUUID` there is this also where a page came over plain HTTP. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
