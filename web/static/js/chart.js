// Line charts as SVG, in the page's own colours and fonts: axes, several series, a cursor that
// mouse, touch and arrow keys move, and a legend that says the values at the cursor.

import { number } from "./words.js";

const NAMES = "http://www.w3.org/2000/svg";
const LEFT = 52, RIGHT = 14, TOP = 10, BOTTOM = 24, LABEL = 12;

function make(name, attributes = {}, text) {
  const element = document.createElementNS(NAMES, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

// Round values that divide low to high into about `count` parts.
export function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((each) => each * power).find((each) => each >= rough);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) found.push(value);
  return found;
}

// Exponential moving average that counts for the missing past, so that it begins at the first value.
export function smoothed(points, weight) {
  let sum = 0, mass = 0;
  return points.map(([x, y]) => {
    sum = weight * sum + (1 - weight) * y;
    mass = weight * mass + (1 - weight);
    return [x, sum / mass];
  });
}

// What of a line lies at x or before it, its end between two points included.
export function until(points, x) {
  const past = points.filter(([at]) => at <= x);
  const [before, after] = [past.at(-1), points[past.length]];
  if (!before || !after || before[0] === x) return past.length ? past : points.slice(0, 1);
  const share = (x - before[0]) / (after[0] - before[0]);
  return [...past, [x, before[1] + share * (after[1] - before[1])]];
}

export function short(value) {
  const size = Math.abs(value);
  if (size >= 1e9) return `${+(value / 1e9).toPrecision(3)}G`;
  if (size >= 1e6) return `${+(value / 1e6).toPrecision(3)}M`;
  if (size >= 1e4) return `${+(value / 1e3).toPrecision(3)}k`;
  if (size > 0 && size < 1e-3) return value.toExponential(1);
  return String(+value.toPrecision(4));
}

export class Chart {
  // `svg`: an <svg class="chart">; `legend`: a list that is filled. Options: `log` (of y), `zero`
  // (y begins at 0), `places` behind the point in the legend, `x` (how a place on x is written).
  constructor(svg, legend, options = {}) {
    Object.assign(this, { svg, legend, options: { places: 3, x: short, ...options }, series: [], at: null });
    svg.setAttribute("tabindex", "0");
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", this.options.title ?? "");  // until there is something to say
    new ResizeObserver(() => this.draw()).observe(svg);
    svg.addEventListener("pointermove", (event) => this.point(event.clientX - svg.getBoundingClientRect().left));
    svg.addEventListener("pointerleave", () => this.show(null));
    svg.addEventListener("keydown", (event) => this.key(event));
    svg.addEventListener("blur", () => this.show(null));
  }

  // Series: {name, points: [[x, y], …] by rising x, style: 0 to 5, faint: [[x, y], …] behind it,
  // dashed, label: what stands at its end}.
  set(series) {
    this.series = series.filter((each) => each.points.length);
    this.draw();
  }

  draw() {
    const { width, height } = this.svg.getBoundingClientRect();
    this.svg.replaceChildren();
    if (!width || !this.series.length) return;
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const all = this.series.flatMap((each) => [...each.points, ...(each.faint ?? [])]);
    const ys = all.map(([, y]) => this.scaled(y)).filter(Number.isFinite);
    let [lowX, highX] = [Math.min(...all.map(([x]) => x)), Math.max(...all.map(([x]) => x))];
    let [lowY, highY] = [Math.min(...ys), Math.max(...ys)];
    if (this.options.zero) lowY = Math.min(0, lowY);
    if (lowX === highX) highX = lowX + 1;
    const room = (highY - lowY) * 0.06 || Math.abs(highY) * 0.1 || 1;
    lowY = this.options.zero ? lowY : lowY - room;
    highY += room;
    this.x = (x) => LEFT + ((x - lowX) / (highX - lowX)) * (width - LEFT - RIGHT);
    this.y = (y) => height - BOTTOM - ((this.scaled(y) - lowY) / (highY - lowY)) * (height - TOP - BOTTOM);
    this.axes(width, height, [lowX, highX], [lowY, highY]);
    for (const { points, faint, style, dashed } of this.series) {
      if (faint) this.svg.append(this.line(faint, `line faint series${style}`));
      this.svg.append(this.line(points, `line series${style}${dashed ? " dashed" : ""}`));
      if (points.length === 1) {
        const [[x, y]] = points;
        this.svg.append(make("circle", { cx: this.x(x), cy: this.y(y), r: 3, class: `dot series${style}` }));
      }
    }
    this.ends(width, height);
    this.marks = make("g");
    this.svg.append(this.marks);
    this.show(this.at);
  }

  // What stands at the ends of lines, from below to above, so far apart that all can be read.
  ends(width, height) {
    const found = this.series
      .filter(({ label, points }) => label && Number.isFinite(this.scaled(points.at(-1)[1])))
      .map(({ label, points, style }) => ({ label, style, x: this.x(points.at(-1)[0]), y: this.y(points.at(-1)[1]) + 4 }))
      .sort((one, other) => other.y - one.y);
    let lowest = height - BOTTOM;
    for (const { label, style, x, y } of found) {
      lowest = Math.min(y, lowest);
      this.svg.append(make("text", { x: Math.min(x + 4, width - 10), y: lowest, class: `end series${style}` }, label));
      lowest -= LABEL;
    }
  }

  axes(width, height, [lowX, highX], [lowY, highY]) {
    const bottom = height - BOTTOM;
    for (const value of ticks(lowY, highY, Math.max(2, height / 48))) {
      const shown = this.options.log ? 10 ** value : value;
      const y = this.y(shown);
      this.svg.append(make("line", { class: "grid", x1: LEFT, x2: width - RIGHT, y1: y, y2: y }));
      this.svg.append(make("text", { x: LEFT - 8, y: y + 4, "text-anchor": "end" }, short(shown)));
    }
    for (const value of ticks(lowX, highX, Math.max(2, width / 110))) {
      const place = this.x(value);
      const anchor = place > width - 40 ? "end" : "middle";
      this.svg.append(make("text", { x: anchor === "end" ? width - RIGHT : place, y: bottom + 17, "text-anchor": anchor }, this.options.x(value)));
    }
  }

  line(points, kind) {
    const usable = points.filter(([, y]) => Number.isFinite(this.scaled(y)));
    const path = usable.map(([x, y], index) => `${index ? "L" : "M"}${this.x(x).toFixed(1)} ${this.y(y).toFixed(1)}`);
    return make("path", { d: path.join(""), class: kind });
  }

  scaled(y) {
    return this.options.log ? Math.log10(y) : y;
  }

  point(left) {
    const xs = this.places();
    if (!xs.length || !this.x) return;
    this.show(xs.reduce((best, x) => (Math.abs(this.x(x) - left) < Math.abs(this.x(best) - left) ? x : best)));
  }

  places() {
    return [...new Set(this.series.flatMap((each) => each.points.map(([x]) => x)))].sort((a, b) => a - b);
  }

  key(event) {
    const move = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    const xs = this.places();
    if (move === undefined || !xs.length) return;
    event.preventDefault();
    const now = this.at === null ? xs.length : xs.indexOf(this.at);
    this.show(xs[Math.max(0, Math.min(xs.length - 1, now + move))]);
  }

  // The cursor at x, or with null none: then the legend says the last values.
  show(at) {
    this.at = at;
    this.marks?.replaceChildren();
    const height = this.svg.getBoundingClientRect().height;
    const items = this.series.map(({ name, points, style, dashed }) => {
      const [x, y] = at === null ? points.at(-1) : nearest(points, at);
      const item = document.createElement("li");
      item.className = `series${style}${dashed ? " dashed" : ""}`;
      item.append(document.createElement("i"), `${name} ${number(y, this.options.places)}`);
      if (at !== null && this.x) this.marks.append(make("circle", { cx: this.x(x), cy: this.y(y), r: 3.5, class: `dot series${style}` }));
      return item;
    });
    if (at !== null && items.length && this.x) {
      this.marks.prepend(make("line", { class: "cursor", x1: this.x(at), x2: this.x(at), y1: TOP, y2: height - BOTTOM }));
      const item = document.createElement("li");
      item.textContent = this.options.x(at);
      items.unshift(item);
    }
    this.legend?.replaceChildren(...items);
    const said = this.series.map(({ name, points }) => `${name}: ${number(points.at(-1)[1], this.options.places)}`);
    this.svg.setAttribute("aria-label", [this.options.title, ...said].filter(Boolean).join(", "));
  }
}

function nearest(points, at) {
  return points.reduce((best, each) => (Math.abs(each[0] - at) < Math.abs(best[0] - at) ? each : best));
}
