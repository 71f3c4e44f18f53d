/** A piece of text, and where it leads if it is a link. */
export interface Piece {
  text: string;
  href?: string;
}

// An address ends before the punctuation of its sentence: "(see https://a.test/b)." leads to https://a.test/b.
const ADDRESS = /\bhttps?:\/\/[^\s<>"'`]+/gi;
const TRAILING = /[.,:;!?…،؛؟。*_~\]]+$/;

/** Finds the http and https links in a text. Everything else stays text. */
export function linkify(text: string): Piece[] {
  const pieces: Piece[] = [];
  let end = 0;
  for (const match of text.matchAll(ADDRESS)) {
    let address = match[0].replace(TRAILING, "");
    while (address.endsWith(")") && count(address, ")") > count(address, "(")) address = address.slice(0, -1).replace(TRAILING, "");
    if (!URL.canParse(address)) continue;
    if (match.index > end) pieces.push({ text: text.slice(end, match.index) });
    pieces.push({ text: address, href: address });
    end = match.index + address.length;
  }
  if (end < text.length) pieces.push({ text: text.slice(end) });
  return pieces;
}

function count(text: string, character: string): number {
  return text.split(character).length - 1;
}
