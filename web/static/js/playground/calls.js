// A request as a program makes it: by curl, and by the official client in Python.

export function curl(base, body) {
  const data = JSON.stringify(body, null, 2).replaceAll("'", "'\\''");
  return [
    `curl ${base}/completions \\`,
    `  -H "Authorization: Bearer $OPENAI_API_KEY" \\`,
    `  -H "Content-Type: application/json" \\`,
    `  -d '${data}'`,
  ].join("\n");
}

// `known`: the parameters that the client has; it takes the others in `extra_body`.
export function python(base, body, known) {
  const own = (name, value) => known.has(name) && !(name === "temperature" && Array.isArray(value));
  const entries = Object.entries(body);
  const extra = Object.fromEntries(entries.filter(([name, value]) => !own(name, value)));
  const parameters = entries.filter(([name, value]) => own(name, value)).map(([name, value]) => `    ${name}=${literal(value)},`);
  if (Object.keys(extra).length) parameters.push(`    extra_body=${literal(extra)},`);
  return [
    "from openai import OpenAI",
    "",
    `client = OpenAI(base_url=${literal(base)})`,
    "answer = client.completions.create(",
    ...parameters,
    ")",
    "print(answer.choices[0].text)",
  ].join("\n");
}

function literal(value) {
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  if (typeof value === "object") return `{${Object.entries(value).map(([name, inner]) => `${literal(name)}: ${literal(inner)}`).join(", ")}}`;
  return JSON.stringify(value);
}
