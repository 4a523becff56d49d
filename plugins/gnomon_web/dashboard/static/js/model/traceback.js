// Parse a Python traceback and fold the frames of libraries, so that the user's own code stands out.

/** @typedef {{ kind: 'text', text: string } | { kind: 'frame', text: string, place: string, isLibrary: boolean }} Part */

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

/** Group consecutive library frames. @param {string} text @returns {(Part | { kind: 'folded', frames: Part[] })[]} */
export function folded(text) {
  /** @type {any[]} */
  const groups = [];
  for (const part of partsOf(text)) {
    const last = groups.at(-1);
    if (part.kind !== 'frame' || !part.isLibrary) groups.push(part);
    else if (last?.kind === 'folded') last.frames.push(part);
    else groups.push({ kind: 'folded', frames: [part] });
  }
  return groups;
}
