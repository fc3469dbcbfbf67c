// Small strings that are kept for the next visit.

// A browser may forbid storage; then nothing is remembered over a reload, and that is all.
const memory = new Map();

/** Keep a small string for the next visit. */
export function remember(key, value) {
  memory.set(key, value);
  try {
    localStorage.setItem(`switchboard:${key}`, value);
  } catch {
    // See above.
  }
}

/** What `remember` kept, or null. */
export function recall(key) {
  if (memory.has(key)) return memory.get(key);
  try {
    return localStorage.getItem(`switchboard:${key}`);
  } catch {
    return null;
  }
}
