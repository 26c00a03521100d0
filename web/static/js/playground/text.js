// A text and the tokens that it was written by. Places are counted in characters (code points), as
// the API counts them, not in JavaScript's units.

const PART = "bytes:";

export class Text {
  constructor(prompt, suffix = "") {
    Object.assign(this, { prompt, suffix, characters: [], tokens: [] });
  }

  get written() {
    return this.characters.join("");
  }

  get whole() {
    return this.prompt + this.written;
  }

  // Take in the choice of a chunk of an answer that began at character `base`.
  add(choice, base) {
    this.characters.push(...choice.text);
    const { tokens = [], token_logprobs: chances, top_logprobs: tops, text_offset: offsets } = choice.logprobs ?? {};
    tokens.forEach((text, index) => {
      this.tokens.push({ text, at: base + offsets[index], chance: chances[index], top: tops?.[index] ?? {}, taken: false });
    });
  }

  // The pieces that are shown, those of the tokens from number `first` on: a token, or all those
  // that make one character. `probability` is that of its tokens together, null where unknown.
  pieces(first = 0) {
    const found = [];
    for (let index = first; index < this.tokens.length; index++) {
      const token = this.tokens[index];
      const to = Math.max(token.at, this.tokens[index + 1]?.at ?? this.characters.length);
      const last = found.at(-1);
      if (last && last.from === token.at && isPart(last.token.text) && isPart(token.text)) {
        last.to = to;
        last.chance += token.chance;
      } else {
        found.push({ first: index, from: token.at, to, chance: token.chance, token });
      }
    }
    return found.map((piece) => ({
      ...piece,
      text: this.characters.slice(piece.from, piece.to).join(""),
      probability: piece.token.chance === null ? null : Math.exp(piece.chance),
    }));
  }

  // The text up to a piece, as a text of its own.
  before(piece) {
    const text = new Text(this.prompt, this.suffix);
    text.characters = this.characters.slice(0, piece.from);
    text.tokens = this.tokens.slice(0, piece.first);
    return text;
  }

  // The same text, to be written on without a change to this one.
  copy() {
    return this.before({ from: this.characters.length, first: this.tokens.length });
  }

  // Add a token that the reader has chosen.
  take({ text, logprob, top }) {
    this.tokens.push({ text, at: this.characters.length, chance: logprob, top, taken: true });
    if (!isPart(text)) this.characters.push(...text);
  }
}

export const isPart = (text) => text.startsWith(PART);
export const partOf = (text) => text.slice(PART.length);
