// The form of a new training: about what it takes, as it is filled in.

import { duration, number, say } from "./words.js";

const form = document.getElementById("training");
const box = document.getElementById("estimate");
const budget = document.getElementById("budget");
const PAUSE_MS = 350;
let due, asking, perSecond;

const put = (name, text) => { const place = box.querySelector(`[data-part=${name}]`); if (place) place.textContent = text; };

// The form as the API takes it, as web/pages/forms.py reads it.
function filled() {
  const body = {};
  for (const [name, given] of new FormData(form)) {
    const value = given.trim();
    if (!value) continue;
    const path = name.replace(/\[\]$/, "").split(".");
    let place = body;
    for (const part of path.slice(0, -1)) place = place[part] ??= {};
    const last = path.at(-1);
    if (name.endsWith("[]")) (place[last] ??= []).push(value);
    else place[last] = value;
  }
  return body;
}

async function ask() {
  asking?.abort();
  asking = new AbortController();
  const { model, training_file, hyperparameters = {} } = filled();
  const answer = await fetch(box.dataset.estimate, {
    method: "POST",
    credentials: "same-origin",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ model, training_file, hyperparameters }),
    signal: asking.signal,
  });
  const told = await answer.json();
  put("problem", answer.ok ? "" : told.error.message);
  if (answer.ok) show(told, hyperparameters);
}

// What depends on how much text there is, is not said where that is known only once it is read.
function show({ amount, currency, quantities, text_bytes: bytes }, { max_steps: steps, max_seconds: limit }) {
  const { compute_seconds: seconds, tokens_in: tokens } = quantities;
  const known = bytes !== null, settled = known || Boolean(steps), bounded = settled || Boolean(limit);
  const tell = (name, sure, text) => put(name, sure ? text() : say("when_read"));
  tell("time", bounded, () => duration(seconds));
  tell("tokens", settled, () => say("about", { number: number(Number(tokens.toPrecision(2))) }));
  tell("passes", known, () => (bytes ? say("about", { number: number(tokens / bytes, tokens < 10 * bytes ? 1 : 0) }) : "–"));
  tell("cost", bounded, () => `${number(amount, 4)} ${currency}`);
  const unit = document.getElementById("currency");
  if (unit) unit.textContent = currency;
  perSecond = seconds > 0 && amount > 0 ? amount / seconds : undefined;
}

function askSoon() {
  clearTimeout(due);
  due = setTimeout(() => ask().catch((error) => { if (error.name !== "AbortError") put("problem", say("no_answer")); }), PAUSE_MS);
}

if (form) {
  for (const each of document.querySelectorAll("[data-scripted]")) each.hidden = false;
  form.addEventListener("input", askSoon);
  budget?.addEventListener("input", () => {
    const wanted = Number(budget.value);
    if (!perSecond || !(wanted > 0)) return;
    form.elements["hyperparameters.max_seconds"].value = Math.max(1, Math.floor(wanted / perSecond));
    askSoon();
  });
  askSoon();
}
