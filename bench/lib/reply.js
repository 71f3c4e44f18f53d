// What the stand-in model says: a text of so many tokens, known beforehand to whoever has to check that all of it came.

const SENTENCES =
  " Thank you for your message. A consultation with one of our specialists in Istanbul is free and without any obligation," +
  " and it takes about twenty minutes. Tell us which treatment you are thinking of, and when it would suit you to travel.";
/** Pieces of four letters or so, like a model's own. 10,000 of them are less than the 48 KiB to which edge-chat cuts a reply. */
const TOKENS = SENTENCES.match(/ ?\w{1,5}|[.,]/g);

/** How the model is to answer: so many tokens; the first one after `first` ms, the others `gap` ms apart, the last one `hold` ms later. */
export function ask({ tokens, first = 0, gap = 0, hold = 0 }) {
  return `Please answer at length (bench:${tokens},${first},${gap},${hold}).`;
}

/** What the newest message in a request's body asks for. */
export function asked(body) {
  const spec = /bench:(\d+),(\d+),(\d+),(\d+)/.exec(body.slice(Math.max(0, body.lastIndexOf("bench:"))));
  if (!spec) throw new Error(`the request says nothing of the reply: ${body.slice(-200)}`);
  const [tokens, first, gap, hold] = spec.slice(1).map(Number);
  return { tokens, first, gap, hold };
}

/** The token at a place of the reply. */
export function token(index) {
  const text = TOKENS[index % TOKENS.length];
  return index === 0 ? text.trimStart() : text;
}

const texts = new Map();

/** The whole reply of so many tokens, and where in it each of them starts. */
export function replyOf(tokens) {
  let known = texts.get(tokens);
  if (!known) {
    const starts = new Uint32Array(tokens);
    let text = "";
    for (let index = 0; index < tokens; index += 1) {
      starts[index] = text.length;
      text += token(index);
    }
    known = { text, starts };
    texts.set(tokens, known);
  }
  return known;
}
