// Lists of jobs: rows change in place; when a state changes or a job is new, the list is fetched anew.

import { subscribe } from "./live.js";
import { localTimes } from "./times.js";
import { figures, share } from "./words.js";

const AT_MOST_EVERY_MS = 1500, LONGEST_PAUSE_MS = 30000;
const OTHER_PAGE = [401, 404];  // signed out, or gone: the page that is there now says it
let close, due, pause = AT_MOST_EVERY_MS;

function follow() {
  const list = document.getElementById("live");
  if (list?.dataset.live) {
    close = subscribe(list.dataset.live, (name, data) => (name === "progress" ? progress(data) : renewSoon()));
  }
}

function progress({ id, state, progress: now }) {
  const row = document.querySelector(`[data-job="${CSS.escape(id)}"]`);
  if (!row) return;
  if (row.dataset.state !== state) return renewSoon();
  const bar = row.querySelector("[data-part=done]");
  const done = share(now);
  if (!bar || done === undefined) return;
  bar.value = done;
  row.querySelector("[data-part=figures]").textContent = figures(now).join(" · ");
}

function renewSoon() {
  due ??= setTimeout(attempt, pause);
}

// What the service cannot answer just now is asked for again, ever less often; the page stays.
async function attempt() {
  due = undefined;
  try {
    await renew();
    pause = AT_MOST_EVERY_MS;
  } catch {
    pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
    renewSoon();
  }
}

async function renew() {
  if (document.hidden) {
    document.addEventListener("visibilitychange", renewSoon, { once: true });
    return;
  }
  const answer = await fetch(location.href, { credentials: "same-origin" });
  if (answer.redirected || OTHER_PAGE.includes(answer.status)) {
    location.reload();
    return;
  }
  if (!answer.ok) throw new Error(answer.status);
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById("live");
  localTimes(fresh);
  const old = document.getElementById("live");
  const changed = old.dataset.live !== fresh.dataset.live;
  const chosen = [...old.querySelectorAll(":checked")].map((box) => box.value);
  const focused = document.activeElement?.closest("[data-job]")?.dataset.job;
  for (const box of fresh.querySelectorAll("input[type=checkbox]")) box.checked = chosen.includes(box.value);
  old.replaceWith(fresh);
  if (focused) document.querySelector(`[data-job="${CSS.escape(focused)}"] a`)?.focus();
  if (changed) {
    close?.();
    follow();
  }
}

follow();
const seconds = document.getElementById("live")?.dataset.seconds;  // figures that no event brings
if (seconds) setInterval(() => { if (!document.hidden) renewSoon(); }, 1000 * seconds);
