// The names that are nearest to one that does not exist.

const MOST = 5;

/** The number of edits between two texts (Levenshtein). @param {string} one @param {string} other */
function edits(one, other) {
  let row = Array.from({ length: other.length + 1 }, (_, index) => index);
  for (let at = 0; at < one.length; at += 1) {
    const next = [at + 1];
    for (let to = 0; to < other.length; to += 1) next.push(Math.min(next[to] + 1, row[to + 1] + 1, row[to] + (one[at] === other[to] ? 0 : 1)));
    row = next;
  }
  return row[other.length];
}

/** @param {string} wanted @param {string[]} names @returns {string[]} nearest first; none that differs in more than half of its letters */
export function nearest(wanted, names) {
  const text = wanted.toLowerCase();
  const found = names.map((name) => ({ name, far: name.toLowerCase().includes(text) ? 0 : edits(text, name.toLowerCase()) / Math.max(name.length, text.length) }));
  return found.filter(({ far }) => far <= 0.5).sort((a, b) => a.far - b.far).slice(0, MOST).map(({ name }) => name);
}
