// One job as it runs: figures, curves, samples and events arrive by its event stream.

import { Chart, smoothed, until } from "./chart.js";
import { subscribe } from "./live.js";
import { duration, figures, number, say, share } from "./words.js";

const SMOOTHING = 0.6;
const MOST_EVENTS = 500;
const page = document.getElementById("job");
const part = (name) => page.querySelector(`[data-part=${name}]`);
const put = (name, text) => { const place = part(name); if (place) place.textContent = text; };
const clock = new Intl.DateTimeFormat(document.documentElement.lang, { timeStyle: "medium" });

const chart = (name, options) => {
  const svg = document.getElementById(`${name}-chart`);
  return svg && new Chart(svg, document.getElementById(`${name}-legend`), { title: svg.dataset.title, ...options });
};
const loss = chart("loss");
const rate = chart("rate", { zero: true, places: 5 });
const speed = chart("speed", { zero: true, places: 0 });
const curves = { train: [], valid: [], speed: [] };
const events = document.getElementById("events");
let last, due;

events.replaceChildren();
const rates = JSON.parse(page.dataset.rates ?? "[]");
reach(0);

// What is planned is faint, as far as the training has come it is not, and the legend says the rate there.
function reach(step) {
  rate?.set([{ name: say("rate_name"), points: until(rates, step), faint: rates, style: 0 }]);
}

function draw() {
  due = undefined;
  reach(last.step);
  loss.set([
    { name: say("training"), points: smoothed(curves.train, SMOOTHING), faint: curves.train, style: 0 },
    { name: say("validation"), points: curves.valid, style: 1 },
  ]);
  speed.set([{ name: say("speed_name"), points: curves.speed, style: 0 }]);
}

function metrics(event) {
  const { step, seconds, train_loss: train, valid_loss: valid } = event.data;
  if (step == null) return;
  if (train != null) add(curves.train, step, train);
  if (valid != null) add(curves.valid, step, valid);
  if (last && step > last.step && seconds > last.seconds) {
    add(curves.speed, step, ((step - last.step) * page.dataset.tokensPerStep) / (seconds - last.seconds));
  }
  last = { step, seconds };
  if (loss) due ??= requestAnimationFrame(draw);
}

// A training that goes on from a checkpoint repeats some steps: what came later counts.
function add(points, x, y) {
  while (points.length && points.at(-1)[0] >= x) points.pop();
  points.push([x, y]);
}

function sample(event) {
  document.getElementById("samples-card").hidden = false;
  const figure = document.createElement("figure");
  const caption = document.createElement("figcaption");
  caption.className = "small soft";
  caption.textContent = say("at_step", { step: number(event.data.step) });
  const text = document.createElement("div");
  text.className = "sample";
  text.tabIndex = 0;
  text.textContent = event.data.text;
  figure.append(caption, text);
  const all = document.getElementById("samples");
  all.prepend(figure);
  while (all.children.length > 5) all.lastChild.remove();
}

function tell(event) {
  const item = document.createElement("li");
  item.className = event.level;
  const time = document.createElement("time");
  time.dateTime = new Date(event.created_at * 1000).toISOString();
  time.textContent = clock.format(event.created_at * 1000);
  const text = document.createElement("span");
  text.textContent = event.message;
  item.append(time, text);
  events.prepend(item);
  while (events.children.length > MOST_EVENTS) events.lastChild.remove();
}

function progress({ state, progress: now }) {
  if (state !== page.dataset.state) return location.reload();
  const done = share(now);
  const bar = part("done");
  if (bar && done !== undefined) bar.value = done;
  put("figures", figures(now).join(" · "));
  if (state !== "running") return;
  if (now.seconds_left != null) put("left", duration(now.seconds_left));
  if (now.step != null) {
    put("step", number(now.step));
    reach(now.step);
  }
  if (now.train_loss != null) put("loss", number(now.train_loss, 3));
  if (now.tokens_per_second != null) put("rate", number(now.tokens_per_second));
}

subscribe(page.dataset.events, (name, data) => {
  if (name === "progress") return progress(data);
  if (name === "plan" && page.dataset.kind === "training" && !rate) return location.reload();  // to plot it
  if (name === "metrics") metrics(data);
  else if (name === "sample") sample(data);
  else tell(data);
});

document.getElementById("log-scale")?.addEventListener("change", (event) => {
  loss.options.log = event.target.checked;
  loss.draw();
});
