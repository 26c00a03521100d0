// Requests to the API as a page makes them; what it refuses is thrown as it is worded there.

import { say } from "../words.js";

export class Refused extends Error {
  constructor({ message, code = null, param = null }) {
    super(message);
    Object.assign(this, { code, param });
  }
}

export async function post(path, body, signal) {
  let answer;
  try {
    answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
      credentials: "same-origin",
      signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused({ message: say("unreachable") });
  }
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  if (answer.status === 401) throw new Refused({ message: say("signed_out"), code: "signed_out" });
  throw new Refused(said.error ?? { message: `${answer.status} ${answer.statusText}` });
}

// The chunks of a streamed answer. Throws Refused, also where the stream tells of a failure or
// ends before its end, and AbortError where `signal` says so.
export async function* chunks(path, body, signal) {
  const answer = await post(path, { ...body, stream: true, stream_options: { include_usage: true } }, signal);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ;) {
    const { value, done } = await reader.read().catch((error) => {
      if (error.name === "AbortError") throw error;
      throw new Refused({ message: say("broken_off") });
    });
    if (done) throw new Refused({ message: say("broken_off") });
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      if (!event.startsWith("data: ")) continue;
      const data = event.slice("data: ".length);
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new Refused(chunk.error);
      yield chunk;
    }
  }
}
