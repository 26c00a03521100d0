// One batch as it runs: its counts follow by its event stream, its lines are fetched when a part
// of them is finished, and the whole page when its state changes.

import { subscribe } from "./live.js";
import { number, share } from "./words.js";

const PART = 512;  // lines of a part, which is when there are new ones to be shown
const page = document.getElementById("batch");
const put = (name, text) => { page.querySelector(`[data-part=${name}]`).textContent = text; };
let through, fetching = false;

function progress({ state, progress: { request_counts: counts, ...rest } }) {
  if (state !== page.dataset.state) return location.reload();
  if (!counts) return;
  for (const name of ["total", "completed", "failed"]) put(name, number(counts[name]));
  const bar = page.querySelector("[data-part=done]");
  const done = share({ request_counts: counts, ...rest });
  if (bar && done !== undefined) bar.value = done;
  const now = counts.completed + counts.failed;
  if (through === undefined || Math.floor(now / PART) !== Math.floor(through / PART)) renew();
  through = now;
}

async function renew() {
  if (fetching || document.hidden) return;
  fetching = true;
  try {
    const answer = await fetch(location.href, { credentials: "same-origin" });
    if (!answer.ok || answer.redirected) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("lines");
    const old = document.getElementById("lines");
    if (fresh && !old.contains(document.activeElement)) old.replaceWith(fresh);
  } finally {
    fetching = false;
  }
}

if (page.dataset.events) subscribe(page.dataset.events, (name, data) => { if (name === "progress") progress(data); });
