// Several trainings in one plot: validation in whole lines, training in dashed ones, each with the
// letter of its row at its end. What still runs goes on while it is looked at: a few by their event
// streams, more by fetching the page anew, since a browser opens six connections to a server at most.

import { Chart, short, smoothed } from "./chart.js";
import { subscribe } from "./live.js";
import { duration, say } from "./words.js";

const SMOOTHING = 0.6;
const MOST_STREAMS = 2;
const RENEW_MS = 4000, LESS_OFTEN = 10;  // times what a renewal took
const svg = document.getElementById("loss-chart");
const STEP = 0, AT = 1, TRAIN = 2, VALID = 3;

if (svg) {
  const curves = JSON.parse(svg.dataset.curves);
  const axis = svg.dataset.x;
  const chart = new Chart(svg, document.getElementById("loss-legend"), { title: svg.dataset.title, x: axis === "time" ? duration : short });
  let due;

  const place = (curve, point) => {
    if (axis === "tokens") return point[STEP] * curve.tokens_per_step;
    return axis === "time" ? point[AT] : point[STEP];
  };
  const line = (curve, column) => curve.points.filter((point) => point[column] != null).map((point) => [place(curve, point), point[column]]);

  const draw = () => {
    due = undefined;
    chart.set(curves.flatMap((curve, style) => [
      { name: `${curve.letter} ${say("validation")}`, label: curve.letter, points: line(curve, VALID), style },
      { name: `${curve.letter} ${say("training")}`, label: curve.letter, dashed: true, points: smoothed(line(curve, TRAIN), SMOOTHING), style },
    ]));
  };

  const drawSoon = () => { due ??= requestAnimationFrame(draw); };

  // A training that goes on from a checkpoint repeats some steps: what came later counts.
  const hear = (curve) => (name, event) => {
    const { step, train_loss: train, valid_loss: valid } = event.data ?? {};
    if (name === "plan") return settle(curve);
    if (name !== "metrics" || step == null) return;
    while (curve.points.length && curve.points.at(-1)[STEP] >= step) curve.points.pop();
    curve.points.push([step, event.created_at - curve.began, train, valid]);
    drawSoon();
  };

  // The curves as the page has them by now; nothing where another page is there.
  const fetched = async () => {
    const answer = await fetch(location.href, { credentials: "same-origin" });
    if (answer.redirected || [401, 404].includes(answer.status)) return location.reload();
    if (!answer.ok) throw new Error(answer.status);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    return JSON.parse(page.getElementById("loss-chart").dataset.curves);
  };

  // What is known of a training once it has begun, for places on the axes.
  const settle = async (curve) => {
    const fresh = await fetched().catch(() => null);
    if (!fresh) return setTimeout(settle, RENEW_MS, curve);
    const { began, tokens_per_step } = fresh.find(({ letter }) => letter === curve.letter);
    for (const point of curve.points) point[AT] += curve.began - began;
    Object.assign(curve, { began, tokens_per_step });
    drawSoon();
  };

  const renew = async () => {
    const start = performance.now();
    const fresh = document.hidden ? null : await fetched().catch(() => null);
    if (fresh) {
      fresh.forEach((curve, place) => Object.assign(curves[place], curve));
      drawSoon();
    }
    const pause = Math.max(RENEW_MS, LESS_OFTEN * (performance.now() - start));
    if (curves.some((curve) => curve.events)) setTimeout(renew, pause);
  };

  draw();
  const live = curves.filter((curve) => curve.events);
  if (live.length > MOST_STREAMS) setTimeout(renew, RENEW_MS);
  else for (const curve of live) subscribe(curve.events, hear(curve));
  document.getElementById("log-scale").addEventListener("change", (event) => {
    chart.options.log = event.target.checked;
    chart.draw();
  });
}
