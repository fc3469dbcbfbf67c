// Talking to the page's server: reading the state, doing something, and hearing what happens.

const RETRY_MS = 1500;

/** Read JSON from our own server; null when it does not answer. */
export async function read(url) {
  try {
    const answer = await fetch(url);
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

/** Do something; resolves to an error's words, or to "" when it was taken. */
export async function post(url, body) {
  try {
    const response = await fetch(url, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    const answer = await response.json();
    return answer.ok ? "" : answer.error;
  } catch {
    return "The simulator does not answer. Is it still running?";
  }
}

/** Read the state at `base` again and again until it is there; `use(state)`, then follow from its number. */
export async function connect(base, use, changed) {
  const state = await read(`${base}/state`);
  if (!state) {
    document.body.classList.add("offline");
    setTimeout(() => connect(base, use, changed), RETRY_MS);
    return;
  }
  use(state);
  follow(base, state.number, changed, () => connect(base, use, changed));
}

/** Show the whole state now and after each change. Changes that come while it is being read are read together. */
export function watch(base, show) {
  let busy = false;
  let again = false;
  const renew = async () => {
    again = true;
    if (busy) return;
    busy = true;
    while (again) {
      again = false;
      const state = await read(`${base}/state`);
      if (state) show(state);
    }
    busy = false;
  };
  connect(base, show, renew);
  return renew;
}

function follow(base, number, changed, reset) {
  let last = number;
  const stream = new EventSource(`${base}/changes?after=${number}`);
  stream.addEventListener("message", (event) => {
    last = event.lastEventId;
    changed(JSON.parse(event.data));
  });
  // The server is another one, or we were away for too long: what we know is not worth keeping.
  stream.addEventListener("reset", () => {
    stream.close();
    reset();
  });
  stream.addEventListener("open", () => document.body.classList.remove("offline"));
  stream.addEventListener("error", () => {
    document.body.classList.add("offline");
    // A browser gives up for good when the server is gone for a moment; we do not.
    if (stream.readyState === EventSource.CLOSED) setTimeout(() => follow(base, last, changed, reset), RETRY_MS);
  });
}
