// Parse a Python traceback and fold the frames of libraries, so that the user's own code stands out.

/** @typedef {{ kind: 'text', text: string } | { kind: 'frame', text: string, place: string, isLibrary: boolean }} Part */

/** @typedef {{ kind: 'repetition', period: number, times: number }} Repetition the last `period` frames, `times` more times */

const LONGEST_PERIOD = 12; // frames
const LEAST_TIMES = 2;
const FRAME = /^ {2}File "([^"]+)", line (\d+)(?:, in (.+))?/;
const LIBRARY = /(?:\/site-packages\/|\/dist-packages\/|\/lib\/python3|<frozen |\/gnomon\/runners\/)/;

/** @param {string} text @returns {Part[]} */
export function partsOf(text) {
  /** @type {Part[]} */
  const parts = [];
  for (const line of text.replace(/\n$/, '').split('\n')) {
    const frame = FRAME.exec(line);
    const last = parts.at(-1);
    if (frame) parts.push({ kind: 'frame', text: line, place: `${frame[1]}:${frame[2]}`, isLibrary: LIBRARY.test(frame[1]) });
    else if (last?.kind === 'frame' && /^ {3,}/.test(line)) last.text += `\n${line}`;
    else if (last?.kind === 'text') last.text += `\n${line}`;
    else parts.push({ kind: 'text', text: line });
  }
  return parts;
}

/** How often the frames from an index on are repeated after them. @param {Part[]} parts @param {number} index @returns {Repetition | null} */
function repetitionAt(parts, index) {
  for (let period = 1; period <= LONGEST_PERIOD; period += 1) {
    let same = index;
    while (parts[same].kind === 'frame' && parts[same].text === parts[same + period]?.text) same += 1;
    const times = Math.floor((same - index) / period);
    if (times >= LEAST_TIMES) return { kind: 'repetition', period, times };
  }
  return null;
}

/** Leave out frames that only repeat those before them, as a recursion of several functions does. @param {Part[]} parts @returns {(Part | Repetition)[]} */
export function withoutRepetitions(parts) {
  /** @type {(Part | Repetition)[]} */
  const kept = [];
  for (let index = 0; index < parts.length;) {
    const found = repetitionAt(parts, index);
    const { period, times } = found ?? { period: 1, times: 0 };
    kept.push(...parts.slice(index, index + period), ...(found ? [found] : []));
    index += period * (times + 1);
  }
  return kept;
}

/** Group consecutive library frames, and fold what repeats. @param {string} text @returns {(Part | Repetition | { kind: 'folded', frames: Part[] })[]} */
export function folded(text) {
  /** @type {any[]} */
  const groups = [];
  for (const part of withoutRepetitions(partsOf(text))) {
    const last = groups.at(-1);
    if (part.kind !== 'frame' || !part.isLibrary) groups.push(part);
    else if (last?.kind === 'folded') last.frames.push(part);
    else groups.push({ kind: 'folded', frames: [part] });
  }
  return groups;
}
