// A text as it is read: its tokens one behind the other, each a button. One of them can be reached
// by Tab, the others from there by the arrow keys.

import { number, say } from "../words.js";
import { isPart, partOf } from "./text.js";

const STEPS = [0.01, 0.05, 0.2, 0.5];  // of probability, between the shades 1 to 5
const MOST = 10000;  // pieces that are shown one by one

export class View {
  constructor(section, pick) {
    this.area = section.querySelector("[data-part=text]");
    this.empty = section.querySelector("[data-part=empty]");
    this.pieces = [];
    this.at = 0;
    this.area.addEventListener("click", (event) => {
      const at = this.elements().indexOf(event.target.closest("[role=button]"));
      if (at >= 0) this.choose(at, pick);
    });
    this.area.addEventListener("keydown", (event) => this.key(event, pick));
  }

  elements() {
    return [...this.area.querySelectorAll("[role=button]")];
  }

  get focused() {
    return this.area.contains(document.activeElement);
  }

  // Show another text, or the same anew; where the focus was in it, it stays at its token.
  show(text) {
    const focused = this.focused;
    if (!focused && text !== this.text) this.at = 0;
    this.text = text;
    this.area.hidden = !text;
    this.empty.hidden = Boolean(text);
    this.area.replaceChildren();
    this.pieces = [];
    if (!text) return;
    const before = plain(text.prompt);
    this.rest = plain(text.suffix);
    this.area.append(before, this.rest);
    this.renew(text, focused);
  }

  // Show what has come to the text since.
  renew(text, focused = this.focused) {
    if (!text) return;
    if (this.pieces.length > MOST) {
      this.rest.previousSibling.textContent = text.characters.slice(this.pieces[MOST].from).join("");
      return;
    }
    const last = this.pieces.at(-1);  // the last one may have grown
    if (last) {
      this.pieces.pop();
      this.rest.previousSibling.remove();
    }
    for (const piece of text.pieces(last?.first ?? 0)) {
      if (this.pieces.length === MOST) {
        const written = text.characters.slice(piece.from).join("");
        this.pieces.push(piece);
        this.rest.before(written);
        break;
      }
      this.rest.before(element(piece));
      this.pieces.push(piece);
    }
    this.settle(focused);
  }

  // One token can be reached; with `focused` it has the focus, or the text while it has no token.
  settle(focused) {
    const all = this.elements();
    this.at = Math.max(0, Math.min(this.at, all.length - 1));
    const reachable = all[this.at];
    if (reachable) reachable.tabIndex = 0;
    if (!focused) return;
    if (!reachable) this.area.tabIndex = -1;
    const holder = reachable ?? this.area;
    if (holder !== document.activeElement) holder.focus({ preventScroll: true });
    if (reachable) this.area.removeAttribute("tabindex");
  }

  key(event, pick) {
    const all = this.elements();
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -10, ArrowDown: 10, Home: -Infinity, End: Infinity };
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      this.choose(this.at, pick);
    } else if (event.key in steps) {
      event.preventDefault();
      this.move(Math.max(0, Math.min(all.length - 1, this.at + steps[event.key])));
      this.focus();
    }
  }

  move(at) {
    const all = this.elements();
    if (all[this.at]) all[this.at].tabIndex = -1;
    this.at = at;
    if (all[at]) all[at].tabIndex = 0;
  }

  // The element of the token that can be reached.
  get current() {
    return this.elements()[this.at];
  }

  focus() {
    this.current?.focus();
  }

  choose(at, pick) {
    this.move(at);
    if (this.pieces[at]) pick(this.pieces[at]);
  }
}

function plain(text) {
  const element = document.createElement("span");
  element.className = "soft";
  element.textContent = text;
  return element;
}

function element(piece) {
  const element = document.createElement("span");
  const breaks = piece.text.includes("\n");
  element.className = `token p${shade(piece.probability)}${breaks ? " breaks" : ""}${piece.token.taken ? " taken" : ""}`;
  element.setAttribute("role", "button");
  element.tabIndex = -1;
  element.textContent = piece.text;
  if (!piece.text) element.classList.add("unwritten");
  const percent = percentage(piece.probability);
  element.setAttribute("aria-label", say("token", { text: shown(piece.text || piece.token.text), percent }));
  element.title = percent;
  return element;
}

function shade(probability) {
  return probability === null ? 5 : 1 + STEPS.filter((step) => probability >= step).length;
}

export function percentage(probability) {
  if (probability === null) return "–";
  const percent = probability * 100;
  if (percent < 0.001) return `< ${number(0.001, 3)} %`;
  return `${number(percent, percent >= 10 ? 0 : percent >= 0.1 ? 1 : 3)} %`;
}

// A token as people can read it.
export function shown(text) {
  if (text === "" || text === "<|end|>") return say("end_of_text");
  if (isPart(text)) return say("part", { bytes: partOf(text) });
  if (!text.trim()) return [...text].map((each) => (each === "\n" ? say("line_break") : each === " " ? say("space") : JSON.stringify(each).slice(1, -1))).join(", ");
  return text.replaceAll("\n", "↵").replaceAll("\t", "⇥");
}
