// What might have come in the place of a token: each with its probability, and a button that takes it.

import { say } from "../words.js";
import { percentage, shown } from "./view.js";

const EDGE = 8;  // pixels between the panel and the edge of what it stands in
const NAMES = "http://www.w3.org/2000/svg";

export class Choices {
  static MOST = 12;

  constructor(section, { pick, closed }) {
    Object.assign(this, { pick, closed, piece: null });
    const part = (name) => section.querySelector(`[data-part=${name}]`);
    this.panel = part("alternatives");
    this.title = part("instead");
    this.refused = part("refused");
    this.list = part("choices");
    this.panel.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.close();
    });
  }

  // Show what came with the token, below its `element`; with `only` there is no more to come, and
  // nothing to take.
  open(piece, element, only) {
    this.piece = piece;
    this.title.textContent = say("instead", { text: shown(piece.text || piece.token.text) });
    this.say(only ? say("in_a_gap") : "");
    const told = Object.entries(piece.token.top).map(([text, logprob]) => ({ text, logprob, probability: Math.exp(logprob) }));
    told.sort((one, other) => other.logprob - one.logprob);
    this.list.replaceChildren(...told.map((each) => this.row(each, piece)));
    this.panel.hidden = false;
    this.place(element);
    this.panel.querySelector("[data-do=close]").focus({ preventScroll: true });
    this.panel.scrollIntoView({ block: "nearest" });
  }

  // Show all of `data`, as /v1/next_tokens tells them, to go on `before` the piece.
  fill(piece, data, { before, state, body }) {
    if (this.panel.hidden || this.piece !== piece) return;  // the reader has gone elsewhere
    const top = Object.fromEntries(data.slice(0, 5).map(({ text, logprob }) => [text, logprob]));
    this.list.replaceChildren(...data.map((each) => this.row(each, piece, () => this.pick({ ...each, top, before, state, body }))));
    this.list.querySelector("button")?.focus({ preventScroll: true });
    this.panel.scrollIntoView({ block: "nearest" });
  }

  place(element) {
    const pane = this.panel.offsetParent.getBoundingClientRect();
    const token = element.getClientRects()[0];
    this.panel.style.top = `${token.bottom - pane.top + 4}px`;
    this.panel.style.left = `${Math.max(EDGE, Math.min(token.left - pane.left, pane.width - this.panel.offsetWidth - EDGE))}px`;
  }

  refuse(piece, message) {
    if (this.piece === piece) this.say(message, "bad");
  }

  close(back = true) {
    if (this.panel.hidden) return;
    this.panel.hidden = true;
    if (back) this.closed();
  }

  say(message, kind = "soft") {
    this.refused.textContent = message;
    this.refused.className = kind;
    this.refused.hidden = !message;
  }

  row({ text, probability }, piece, take) {
    const item = document.createElement("li");
    const name = document.createElement(take ? "button" : "span");
    if (take) {
      name.type = "button";
      name.addEventListener("click", take);
    }
    name.className = "choice mono";
    name.textContent = shown(text);
    const chance = document.createElement("span");
    chance.className = "figure small soft";
    const here = text === piece.token.text || (text === "" && piece.token.text === "<|end|>");
    chance.textContent = percentage(probability) + (here ? ` · ${say("taken")}` : "");
    item.append(name, bar(probability), chance);
    return item;
  }
}

function bar(share) {
  const svg = document.createElementNS(NAMES, "svg");
  for (const [name, value] of Object.entries({ viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" })) svg.setAttribute(name, value);
  const rectangle = document.createElementNS(NAMES, "rect");
  rectangle.setAttribute("width", (100 * share).toFixed(2));
  rectangle.setAttribute("height", "8");
  svg.append(rectangle);
  return svg;
}
