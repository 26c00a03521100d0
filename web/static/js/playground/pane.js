// One text: written, stopped, written on, undone, and branched at any of its tokens.

import { number, say } from "../words.js";
import { chunks, post, Refused } from "./api.js";
import { Choices } from "./choices.js";
import { Text } from "./text.js";
import { View } from "./view.js";

const FORGOTTEN = ["state_not_found", "state_of_another_model", "state_of_other_numerics"];

// A place that a text was at: {text, body (how it was asked for), state, figures, reason}.
export class Pane {
  // `paths`: of the API. `onRefused(error)`: whether the page shows it beside a field.
  constructor(section, paths, { onRefused, onEdit, onSeed, onChange }) {
    Object.assign(this, { section, paths, onRefused, onChange, places: [], control: null });
    this.view = new View(section, (piece) => this.look(piece));
    this.choices = new Choices(section, { pick: (choice) => this.branch(choice), closed: () => this.view.focus() });
    for (const [name, act] of Object.entries({
      continue: () => this.writeOn(),
      undo: () => this.undo(),
      edit: () => onEdit(this.place.text.whole),
      copy: (event) => copyOf(this.place.text.whole, event.target),
      keep: () => onSeed(this.place.body.seed),
      close: () => this.choices.close(),
    })) this.button(name).addEventListener("click", act);
  }

  get place() {
    return this.places.at(-1);
  }

  get busy() {
    return this.control !== null;
  }

  button(name) {
    return this.section.querySelector(`[data-do=${name}]`);
  }

  name(text) {
    this.section.querySelector("[data-part=name]").textContent = text;
  }

  // Begin a new text as `body` asks for it.
  write(body) {
    return this.run(new Text(body.prompt, body.suffix), { body, whole: body });
  }

  writeOn() {
    const { text, body, state } = this.place;
    const seed = next(body.seed);
    return this.run(text.copy(), {
      body: { ...body, seed },
      whole: { ...body, seed, prompt: text.whole },
      further: state && { ...body, seed, prompt: "", state_id: state },
    });
  }

  undo() {
    this.stop();
    this.places.pop();
    this.show();
  }

  stop() {
    this.control?.abort();
  }

  // What might have come in the place of a piece: first what came with it, then all of it.
  async look(piece) {
    const { text, body } = this.place;
    if (!text.tokens.length) return;
    const before = text.before(piece);
    this.choices.open(piece, this.view.current, Boolean(body.suffix));
    if (body.suffix) return;
    try {
      const answer = await post(this.paths.nextTokens, { model: body.model, prompt: before.whole, top: Choices.MOST });
      const { state_id: state, data } = await answer.json();
      this.choices.fill(piece, data, { before, state, body });
    } catch (error) {
      this.choices.refuse(piece, error.message);
    }
  }

  // Go on from before a piece with another token in its place.
  branch({ token, text, logprob, top, before, state, body }) {
    before.take({ text, logprob, top });
    this.choices.close();
    const seed = next(body.seed);
    if (text === "") {
      this.places.push({ text: before, body: { ...body, seed }, state: null, reason: "stop", figures: {} });
      return this.show();
    }
    return this.run(before, {
      body: { ...body, seed },
      whole: { ...body, seed, prompt: before.whole },
      further: state && { ...body, seed, prompt: [token], state_id: state },
    });
  }

  // Write on at the end of `text`: from the state where the service has it, else from the whole.
  async run(text, { body, whole, further }) {
    this.stop();
    this.choices.close(false);
    this.problem("");
    const control = (this.control = new AbortController());
    const place = { text, body, state: null, reason: null, figures: { began: performance.now() } };
    this.places.push(place);
    this.show();
    this.onChange();
    try {
      await this.receive(place, further ?? whole, control.signal).catch((error) => {
        if (!further || !FORGOTTEN.includes(error.code)) throw error;
        return this.receive(place, whole, control.signal);
      });
    } catch (error) {
      if (error.name === "AbortError") place.reason = "stopped";
      else this.fail(place, error);
    }
    if (this.control === control) this.control = null;
    place.figures.ended ??= performance.now();
    this.show();
    this.onChange();
  }

  async receive(place, asked, signal) {
    const base = place.text.characters.length;
    const first = place.text.tokens.length;
    const body = { ...asked, logprobs: 5 };
    if (!body.suffix && !this.statesOff) body.return_state = true;
    try {
      for await (const { choices: [choice], usage } of chunks(this.paths.completions, body, signal)) {
        if (usage) Object.assign(place.figures, { written: usage.completion_tokens, read: usage.prompt_tokens });
        if (!choice) continue;
        place.figures.first ??= performance.now();
        place.text.add(choice, base);
        place.figures.written = place.text.tokens.length - first;
        place.reason = choice.finish_reason ?? place.reason;
        place.state = choice.state_id ?? place.state;
        if (this.place === place) this.soon();
      }
    } catch (error) {
      if (error.code !== "states_off") throw error;
      this.statesOff = true;
      return this.receive(place, asked, signal);
    }
    place.figures.ended = performance.now();
  }

  // What failed before anything was written leaves no place behind.
  fail(place, error) {
    if (!(error instanceof Refused)) throw error;
    place.reason = "stopped";
    if (!place.figures.written) this.places = this.places.filter((each) => each !== place);
    if (!this.onRefused(error)) this.problem(error.message);
  }

  problem(message) {
    const place = this.section.querySelector("[data-part=problem]");
    place.textContent = message;
    place.hidden = !message;
  }

  soon() {
    this.due ??= requestAnimationFrame(() => {
      this.due = undefined;
      this.view.renew(this.place?.text);
      this.tell();
    });
  }

  show() {
    this.view.show(this.place?.text);
    this.button("undo").disabled = !this.places.length;
    for (const name of ["edit", "copy"]) this.button(name).disabled = !this.place;
    this.button("continue").disabled = !this.place || this.busy || Boolean(this.place.body.suffix);
    this.button("keep").hidden = !this.place;
    this.section.setAttribute("aria-busy", this.busy);
    this.tell();
  }

  tell() {
    const said = [];
    if (this.place) {
      const { figures: { began, first, ended, written, read }, reason, body } = this.place;
      if (this.busy && reason === null) said.push(say("writing"));
      if (written) {
        said.push(say("tokens_written", { count: number(written) }));
        const seconds = ((ended ?? performance.now()) - began) / 1000;
        if (first && seconds > 0) said.push(say("rate", { rate: number(written / seconds) }));
      }
      if (read != null) said.push(say("read", { count: number(read) }));
      if (reason) said.push(say({ stop: "ended", length: "longest", stopped: "stopped" }[reason]));
      said.push(say("seed", { seed: body.seed }));
    }
    this.section.querySelector("[data-part=figures]").textContent = said.join(" · ");
  }
}

// The seed of the next step: the same again would draw alike.
function next(seed) {
  return typeof seed === "number" ? seed + 1 : String(BigInt(seed) + 1n);
}

// Without the clipboard, which browsers give to https and localhost alone, the text is selected.
export async function copyOf(text, button, source) {
  const said = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = say("copied");
  } catch {
    if (source) getSelection().selectAllChildren(source);
    button.textContent = say("select_and_copy");
  }
  setTimeout(() => { button.textContent = said; }, 2000);
}
