// A part of the page that is fetched anew every few seconds, while somebody looks at it.

import { localTimes } from "./times.js";

const seconds = Number(document.getElementById("renewed").dataset.seconds);

async function renew() {
  const answer = await fetch(location.href, { credentials: "same-origin" });
  if (answer.redirected || answer.status === 401) return location.reload();
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const fresh = page.getElementById("renewed");
  const old = document.getElementById("renewed");
  if (!fresh || fresh.isEqualNode(old) || old.contains(document.activeElement)) return;
  localTimes(fresh);
  old.replaceWith(fresh);
}

setInterval(() => { if (!document.hidden) renew().catch(() => {}); }, 1000 * seconds);
