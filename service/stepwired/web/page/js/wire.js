/** Reads the few protobuf messages that come as error details, which JSON leaves in their bytes. */

const utf8 = new TextDecoder();

/** Fields of a message: number → values in order, each a Number or the bytes of a length-delimited field. */
function fields(bytes) {
  const found = new Map();
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; at < bytes.length; scale *= 128) {
      const byte = bytes[at++];
      value += (byte & 127) * scale; // not shifted: durations have more than 32 bits
      if (byte < 128) return value;
    }
    throw new RangeError("ends within a number");
  };
  while (at < bytes.length) {
    const key = varint();
    const kind = key & 7;
    let value;
    if (kind === 0) value = varint();
    else if (kind === 2) {
      const size = varint();
      value = bytes.subarray(at, (at += size));
    } else if (kind === 1 || kind === 5) {
      at += kind === 1 ? 8 : 4;
      continue;
    } else throw new RangeError("no such kind of field");
    const number = Math.floor(key / 8);
    found.set(number, [...(found.get(number) ?? []), value]);
  }
  return found;
}

const text = (found, number) => utf8.decode(found.get(number)?.[0] ?? new Uint8Array());

function seconds(bytes) {
  const duration = fields(bytes);
  return (duration.get(1)?.[0] ?? 0) + (duration.get(2)?.[0] ?? 0) / 1e9;
}

const READERS = {
  "google.rpc.ErrorInfo": (found) => ({ reason: text(found, 1) }),
  "google.rpc.RetryInfo": (found) => ({ retryAfterS: seconds(found.get(1)?.[0] ?? new Uint8Array()) }),
  "google.rpc.RequestInfo": (found) => ({ requestId: text(found, 1) }),
  "google.rpc.BadRequest": (found) => ({
    violations: (found.get(1) ?? []).map((bytes) => {
      const violation = fields(bytes);
      return { field: text(violation, 1), description: text(violation, 2) };
    }),
  }),
};

/** What a Connect error's details say: `{reason, requestId, retryAfterS, violations}`, each if it is there. */
export function readDetails(details = []) {
  const said = {};
  for (const detail of details) {
    try {
      const base64 = detail.value.replaceAll("-", "+").replaceAll("_", "/");
      const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
      Object.assign(said, READERS[detail.type]?.(fields(bytes)));
    } catch {
      continue; // an unreadable detail must not hide the error it belongs to
    }
  }
  return said;
}
