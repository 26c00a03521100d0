// What scripts say, in the page's language: texts stand in the page, numbers follow its locale.

const texts = JSON.parse(document.getElementById("words")?.dataset.words ?? "{}");
const locale = document.documentElement.lang;
const formats = new Map();

export function say(name, values = {}) {
  return (texts[name] ?? name).replace(/%\((\w+)\)s/g, (_, key) => values[key]);
}

export function number(value, places = 0) {
  if (!formats.has(places)) {
    formats.set(places, new Intl.NumberFormat(locale, { minimumFractionDigits: places, maximumFractionDigits: places }));
  }
  return formats.get(places).format(value);
}

export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const two = (value) => String(value).padStart(2, "0");
  if (whole < 60) return say("seconds", { seconds: whole });
  if (whole < 3600) return say("minutes", { minutes: Math.floor(whole / 60), seconds: two(whole % 60) });
  return say("hours", { hours: Math.floor(whole / 3600), minutes: two(Math.floor((whole % 3600) / 60)) });
}

// The few numbers that matter while a job runs, as web/pages/job_rows.py writes them.
export function figures(progress) {
  const found = [], steps = !progress.doing;
  const counted = (done, total) => ({ done: number(done), total: number(total) });
  const counts = progress.request_counts;
  if (counts) found.push(say("lines", counted(counts.completed + counts.failed, counts.total)));
  if (progress.total != null) found.push(`${number(progress.done)} / ${number(progress.total)} ${say(progress.unit)}`);
  if (progress.part) found.push(say("measuring", { part: say(progress.part) }));
  else if (progress.step != null) found.push(say("step", counted(progress.step, progress.total_steps ?? 0)));
  if (progress.train_loss != null) found.push(say("loss", { loss: number(progress.train_loss, 3) }));
  if (progress.epsilon_spent != null) found.push(`ε ${number(progress.epsilon_spent, 2)}`);
  if (steps && progress.tokens_per_second != null) found.push(say("rate", { rate: number(progress.tokens_per_second) }));
  if (steps && progress.seconds_left != null) found.push(say("left", { time: duration(progress.seconds_left) }));
  return found;
}

// How much of a job is done, 0 to 1; undefined where nobody knows.
export function share(progress) {
  const counts = progress.request_counts;
  const total = counts ? counts.total : progress.total_steps ?? progress.total;
  const done = counts ? counts.completed + counts.failed : progress.step ?? progress.done;
  return total && done != null ? Math.min(1, done / total) : undefined;
}
