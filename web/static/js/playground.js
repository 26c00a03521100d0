// The playground: the form, one text or two beside each other, and what a program would send.

import { say } from "./words.js";
import { curl, python } from "./playground/calls.js";
import { copyOf, Pane } from "./playground/pane.js";
import { Settings } from "./playground/settings.js";

const form = document.getElementById("playground");
if (form) begin();

function begin() {
  const settings = new Settings(form);
  const part = (id) => document.getElementById(id);
  const known = new Set(["model", "prompt", "suffix", ...settings.options.filter((field) => field.dataset.client).map((field) => field.name)]);
  const paths = { completions: form.dataset.completions, nextTokens: form.dataset.nextTokens };
  const pane = (id, right) => new Pane(part(id), paths, {
    onRefused: (error) => settings.refuse(error.param && settings.nameOf(error.param, right), error.message),
    onEdit: (text) => { settings.field("prompt").value = text; settings.field("prompt").focus(); },
    onSeed: (seed) => { settings.field("seed").value = seed; changed(); settings.field("seed").focus(); },
    onChange: () => { part("stop-writing").disabled = !panes.some((each) => each.busy); call(); },
  });
  const panes = [pane("left", false), pane("right", true)];
  let suited = settings.suiting();

  function shown() {
    return settings.beside ? panes : panes.slice(0, 1);
  }

  function write() {
    settings.accept();
    if (!settings.readable()) return;
    const seed = settings.seed ?? crypto.getRandomValues(new Uint32Array(1))[0];
    shown().forEach((each, index) => each.write(settings.body(index === 1, seed)));
  }

  function stop() {
    panes.forEach((each) => each.stop());
  }

  function changed() {
    part("other").hidden = part("right").hidden = !settings.beside;
    part("no-gaps").hidden = settings.fillsGaps;
    name();
    call();
    history.replaceState(null, "", settings.address());
  }

  // Each text is named by what makes it another than its neighbour.
  function name() {
    const bodies = [settings.body(false, 0), settings.body(true, 0)];
    const differ = settings.beside && bodies[0].model === bodies[1].model;
    panes.forEach((each, index) => {
      const { model, temperature = 1 } = bodies[index];
      each.name(differ ? say("temperature", { value: [temperature].flat().join(", ") }) : model);
    });
  }

  // The request of the text on the left: with the seed that it was written by, it can be had again.
  function call() {
    const seed = settings.seed ?? panes[0].place?.body.seed;
    const body = settings.body(false, seed);
    part("call-curl").textContent = curl(form.dataset.baseUrl, JSON.parse(JSON.stringify(body)));
    part("call-python").textContent = python(form.dataset.baseUrl, JSON.parse(JSON.stringify(body)), known);
  }

  form.addEventListener("submit", (event) => { event.preventDefault(); write(); });
  form.addEventListener("input", (event) => {
    if (event.target.id === "shades") return form.classList.toggle("unshaded", !event.target.checked);
    if (event.target.name === "model") {
      settings.follow(suited);
      suited = settings.suiting();
    }
    if (event.target.getAttribute("aria-invalid")) settings.accept(event.target);
    changed();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); write(); }
    if (event.key === "Escape") stop();
  });
  part("stop-writing").addEventListener("click", stop);
  part("reset").addEventListener("click", () => { settings.suit(); changed(); });
  part("copy-link").addEventListener("click", (event) => copyOf(settings.address(), event.target));
  for (const button of form.querySelectorAll("[data-copy]")) {
    const source = part(`call-${button.dataset.copy}`);
    button.addEventListener("click", () => copyOf(source.textContent, button, source));
  }
  const narrow = matchMedia("(max-width: 64rem)");
  if (narrow.matches) for (const group of form.querySelectorAll(".settings details")) group.open = false;
  changed();
}
