// Server-sent events of any name. A stream that breaks off is taken up again behind the last
// event that came; one that is refused (too many are open, the service restarts) is tried again.

const FIRST_PAUSE_MS = 1000, LONGEST_PAUSE_MS = 30000;

// Calls handle(name, data) for each event until "end"; returns what closes the stream.
export function subscribe(url, handle) {
  const listeners = new AbortController();
  let control, last = "", pause = FIRST_PAUSE_MS, turn = 0;  // a run whose turn is over stops

  async function read() {
    control = new AbortController();
    const headers = { Accept: "text/event-stream", ...(last && { "Last-Event-ID": last }) };
    const answer = await fetch(url, { headers, credentials: "same-origin", cache: "no-store", signal: control.signal });
    if ([401, 404, 410].includes(answer.status)) return true;
    if (!answer.ok) throw new Error(answer.status);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ;) {
      const { value, done } = await reader.read();
      if (done) return false;
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) {
        pause = FIRST_PAUSE_MS;
        const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s)));
        if (fields.id) last = fields.id;
        if (fields.event === "end") return true;
        if (fields.event) handle(fields.event, JSON.parse(fields.data));
      }
    }
  }

  async function run() {
    const own = (turn += 1);
    while (turn === own) {
      const ended = await read().catch(() => false);
      if (ended) return listeners.abort();
      await new Promise((resume) => setTimeout(resume, pause));
      pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
    }
  }

  // A page that is left may be shown again as it was: then the stream goes on, unless it is closed.
  const leave = () => { turn += 1; control?.abort(); };
  const close = () => { leave(); listeners.abort(); };
  addEventListener("pagehide", leave, { signal: listeners.signal });
  addEventListener("pageshow", (event) => { if (event.persisted) run(); }, { signal: listeners.signal });
  run();
  return close;
}
