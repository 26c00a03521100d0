// The settings of the form: as the body of a request, as an address, and with what is wrong with one.

const ESCAPES = { n: "\n", t: "\t", r: "\r", "\\": "\\" };

export class Settings {
  constructor(form) {
    this.form = form;
    this.options = [...form.querySelectorAll("[data-option]")];
    this.names = ["model", "other_model", "other_temperature"];
  }

  field(name) {
    return this.form.elements.namedItem(name);
  }

  get beside() {
    return document.getElementById("beside").checked;
  }

  // The options that say something, by the names of the API. What cannot be read goes as it stands,
  // so that the API says what is wrong with it.
  chosen() {
    return Object.fromEntries(this.options.map((field) => [field.name, valueOf(field)]).filter(([, value]) => value !== undefined));
  }

  // A request for the text on the left, or on the right, where it may have its own model and
  // temperature.
  body(right, seed) {
    const body = { model: this.field("model").value, prompt: this.field("prompt").value, ...this.chosen(), seed };
    if (right) {
      body.model = this.field("other_model").value || body.model;
      const temperature = parsed("numbers", this.field("other_temperature").value.trim());
      if (temperature !== undefined) body.temperature = temperature;
    }
    const suffix = this.field("suffix").value;
    return suffix ? { ...body, suffix } : body;
  }

  // The seed that was asked for; undefined where the page is to choose one.
  get seed() {
    return valueOf(this.field("seed"));
  }

  // What of these settings has a name of its own on the right.
  nameOf(param, right) {
    const own = right && { model: "other_model", temperature: "other_temperature" }[param];
    return own && this.field(own).value ? own : param;
  }

  // The address of a page with these settings; the text is no part of it.
  address() {
    const query = new URLSearchParams();
    for (const name of this.names) {
      if (name !== "model" && !this.beside) continue;
      if (this.field(name).value) query.set(name, this.field(name).value);
    }
    for (const field of this.options) {
      const value = field.type === "checkbox" ? (field.checked ? "true" : "") : field.value.trim();
      if (value) query.set(field.name, value);
    }
    return `${location.origin}${location.pathname}?${query}`;
  }

  // What suits the chosen model, in place of all that stands there.
  suit() {
    const suits = this.suiting();
    for (const field of this.options) {
      if (field.type === "checkbox") field.checked = false;
      else field.value = suits[field.name] ?? "";
    }
  }

  suiting() {
    return JSON.parse(this.field("model").selectedOptions[0]?.dataset.defaults ?? "{}");
  }

  // After another model was chosen: fields that had what suited the one before have what suits it.
  follow(before) {
    const suits = this.suiting();
    for (const field of this.options) {
      if (field.type !== "checkbox" && field.value === (before[field.name] ?? "")) field.value = suits[field.name] ?? "";
    }
  }

  get fillsGaps() {
    const writers = [this.field("model")];
    if (this.beside && this.field("other_model").value) writers.push(this.field("other_model"));
    return writers.every((field) => "fillsGaps" in (field.selectedOptions[0]?.dataset ?? {}));
  }

  // Whether a number could be read; browsers hide from scripts what they cannot.
  readable() {
    const wrong = this.options.find((field) => field.validity.badInput);
    if (!wrong) return true;
    reveal(wrong);
    wrong.reportValidity();
    return false;
  }

  // Show what is wrong with a field beside it; false where the form has none of that name.
  refuse(name, message) {
    const field = name && this.field(name);
    if (!field) return false;
    this.accept(field);
    const said = document.createElement("p");
    said.className = "problem";
    said.id = `${name}-problem`;
    said.setAttribute("role", "alert");
    said.textContent = message;
    (field.closest("label") ?? field).after(said);
    field.setAttribute("aria-invalid", "true");
    field.setAttribute("aria-describedby", [said.id, field.dataset.hint].filter(Boolean).join(" "));
    reveal(field);
    return true;
  }

  // Take back what was said of a field, or of all.
  accept(only) {
    for (const field of only ? [only] : this.form.querySelectorAll("[aria-invalid]")) {
      document.getElementById(`${field.name}-problem`)?.remove();
      field.removeAttribute("aria-invalid");
      field.dataset.hint ??= field.getAttribute("aria-describedby") ?? "";
      if (field.dataset.hint) field.setAttribute("aria-describedby", field.dataset.hint);
      else field.removeAttribute("aria-describedby");
    }
  }
}

function reveal(field) {
  const group = field.closest("details");
  if (group) group.open = true;
  field.focus();
}

function valueOf(field) {
  if (field.type === "checkbox") return field.checked || undefined;
  return parsed(field.dataset.option, field.dataset.option === "texts" ? field.value : field.value.trim());
}

// What a field says, as the API takes it; undefined where it says nothing.
export function parsed(kind, text) {
  if (text === "") return undefined;
  if (kind === "texts") {
    const lines = text.split("\n").filter((line) => line !== "").map(unescaped);
    return lines.length ? lines : undefined;
  }
  if (kind === "biases") {
    const pairs = text.split(",").map((pair) => pair.split(":").map((each) => each.trim()));
    return pairs.every((pair) => pair.length === 2) ? Object.fromEntries(pairs.map(([id, bias]) => [id, numeric(bias)])) : text;
  }
  if (kind === "integers") return text.split(/[\s,，]+/).filter(Boolean).map(numeric);
  if (kind === "numbers") {
    const numbers = text.split(/[\s,，]+/).filter(Boolean).map(numeric);
    return numbers.length === 1 ? numbers[0] : numbers;
  }
  return numeric(text);
}

// A number, or the text itself where it is none or JavaScript would change it.
function numeric(text) {
  const value = Number(text);
  const exact = Number.isFinite(value) && (!Number.isInteger(value) || Number.isSafeInteger(value));
  return text !== "" && exact ? value : text;
}

function unescaped(line) {
  return line.replace(/\\([ntr\\])/g, (_, escape) => ESCAPES[escape]);
}
