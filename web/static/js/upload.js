// Uploads in parts, with a bar. What breaks off goes on where it was, also after the page was
// closed: whoever chooses the same file again sends only what is missing. A form with data-next leads
// on there with the file's id; any other is then sent itself, with the id in its field `uploaded`.

import { number, say } from "./words.js";

const PART_BYTES = 4 * 2 ** 20;
const PASSING_SECONDS = 3600;  // for which a file is kept that the form only reads
const MOST_TRIES = 8, LONGEST_PAUSE_MS = 15000;
const form = document.getElementById("upload");
const field = form?.elements.file;
const state = document.getElementById("upload-state");
const bar = state?.querySelector("progress");
const text = state?.querySelector("[data-part=text]");
const stop = state?.querySelector("button");
let control;

class Refused extends Error {}

async function call(path, body) {
  const asJson = body !== undefined && !(body instanceof FormData);
  const answer = await fetch(form.dataset.uploads + path, {
    method: body === undefined ? "GET" : "POST",
    credentials: "same-origin",
    headers: asJson ? { "Content-Type": "application/json" } : {},
    body: asJson ? JSON.stringify(body) : body,
    signal: control.signal,
  });
  const told = await answer.json().catch(() => ({}));
  if (answer.ok) return told;
  const message = told.error?.message ?? say("no_answer");
  throw answer.status >= 500 || answer.status === 429 ? new Error(message) : new Refused(message);
}

const purpose = form?.dataset.purpose ?? "fine-tune";
const memory = (file) => `textgen-upload:${file.name}:${file.size}:${file.lastModified}`;

// The upload of this file that was begun before and still takes parts, else a new one.
async function begin(file) {
  const known = localStorage.getItem(memory(file));
  if (known) {
    try {
      const found = await call(`/${known}`);
      if (found.status === "pending" && found.purpose === purpose) return found;
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
    }
  }
  const passing = form.dataset.next ? {} : { expires_after: { anchor: "created_at", seconds: PASSING_SECONDS } };
  const made = await call("", { filename: file.name, purpose, bytes: file.size, mime_type: file.type || "application/octet-stream", ...passing });
  localStorage.setItem(memory(file), made.id);
  return { ...made, parts: [] };
}

// Parts are sent one after the other, so those that are there are the beginning of the file.
async function send(file) {
  let upload = await begin(file);
  let parts = upload.parts ?? [];
  let sent = parts.reduce((sum, part) => sum + part.bytes, 0);
  for (let tries = 0; sent < file.size;) {
    show(sent, file.size);
    try {
      const data = new FormData();
      data.append("data", file.slice(sent, sent + PART_BYTES), "part");
      const made = await call(`/${upload.id}/parts`, data);
      parts.push(made);
      sent = Math.min(sent + PART_BYTES, file.size);
      tries = 0;
    } catch (error) {
      if (error instanceof Refused || error.name === "AbortError" || ++tries > MOST_TRIES) throw error;
      await new Promise((resume) => setTimeout(resume, Math.min(500 * 2 ** tries, LONGEST_PAUSE_MS)));
      upload = await call(`/${upload.id}`).catch(() => upload);  // the answer alone may have been lost
      parts = upload.parts ?? parts;
      sent = parts.reduce((sum, part) => sum + (part.bytes ?? PART_BYTES), 0);
    }
  }
  show(file.size, file.size);
  const done = await call(`/${upload.id}/complete`, { part_ids: parts.map((part) => part.id) });
  localStorage.removeItem(memory(file));
  return done.file.id;
}

function show(sent, all) {
  bar.max = all;
  bar.value = sent;
  text.textContent = say("uploaded", { done: megabytes(sent), total: megabytes(all) });
}

const megabytes = (bytes) => number(bytes / 1e6, 1);

function goOn(id) {
  if (form.dataset.next) {
    location.assign(form.dataset.next.replace("FILE", encodeURIComponent(id)));
    return;
  }
  form.elements.uploaded.value = id;
  field.disabled = true;  // it need not be sent once more
  form.submit();
}

async function run(event) {
  const file = field.files[0];
  if (!file?.size) {  // the server says what is wrong with it, if nothing is there already
    field.disabled = Boolean(form.elements.uploaded?.value);
    return;
  }
  event.preventDefault();
  control = new AbortController();
  state.hidden = false;
  stop.hidden = false;
  for (const button of form.querySelectorAll("button.main")) button.disabled = true;
  try {
    const id = await send(file);
    goOn(id);
  } catch (error) {
    text.textContent = error.name === "AbortError" ? say("stopped") : `${error.message} ${say("goes_on")}`;
    stop.hidden = true;
    for (const button of form.querySelectorAll("button.main")) button.disabled = false;
  }
}

if (form) {
  form.addEventListener("submit", run);
  stop.addEventListener("click", () => control.abort());
}
const drop = form?.querySelector(".drop:not([data-drop])");  // those have drop.js
if (drop) {
  for (const name of ["dragenter", "dragover"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.add("over"); });
  for (const name of ["dragleave", "drop"]) drop.addEventListener(name, (event) => { event.preventDefault(); drop.classList.remove("over"); });
  drop.addEventListener("drop", (event) => {
    if (!event.dataTransfer.files.length) return;
    field.files = event.dataTransfer.files;
    form.requestSubmit();
  });
}
