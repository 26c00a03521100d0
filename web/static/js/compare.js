// Several trainings in one plot: validation in whole lines, training in dashed ones, each with the
// letter of its row at its end. What still runs goes on while it is looked at.

import { Chart, short, smoothed } from "./chart.js";
import { subscribe } from "./live.js";
import { duration, say } from "./words.js";

const SMOOTHING = 0.6;
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

  // A training that goes on from a checkpoint repeats some steps: what came later counts.
  const hear = (curve) => (name, event) => {
    const { step, train_loss: train, valid_loss: valid } = event.data ?? {};
    if (name !== "metrics" || step == null) return;
    while (curve.points.length && curve.points.at(-1)[STEP] >= step) curve.points.pop();
    curve.points.push([step, event.created_at - curve.began, train, valid]);
    due ??= requestAnimationFrame(draw);
  };

  draw();
  for (const curve of curves) if (curve.events) subscribe(curve.events, hear(curve));
  document.getElementById("log-scale").addEventListener("change", (event) => {
    chart.options.log = event.target.checked;
    chart.draw();
  });
}
