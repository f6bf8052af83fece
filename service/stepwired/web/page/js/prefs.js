/** What this browser remembers for itself. A browser that may not keep anything forgets, and all else goes on. */

const PREFIX = "stepwire.";

export function recall(key, otherwise = "") {
  try {
    return localStorage.getItem(PREFIX + key) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export function remember(key, value) {
  try {
    if (value) localStorage.setItem(PREFIX + key, value);
    else localStorage.removeItem(PREFIX + key);
  } catch {
    // full, or forbidden
  }
}
