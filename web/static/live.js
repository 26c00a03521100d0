// Renews the overview while somebody looks at it.
"use strict";

const PAUSE_MS = 2000;

async function renew() {
  if (document.hidden) return;
  const answer = await fetch(location.href, { credentials: "same-origin" });
  if (!answer.ok || answer.redirected) return location.reload();
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  document.getElementById("live").replaceWith(page.getElementById("live"));
}

setInterval(() => renew().catch(() => {}), PAUSE_MS);
