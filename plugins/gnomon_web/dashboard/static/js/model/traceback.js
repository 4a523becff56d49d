// A Python traceback, with the frames of libraries folded away: what people wrote themselves is what they want to see.

/** @typedef {{ kind: 'text', text: string } | { kind: 'frame', text: string, place: string, foreign: boolean }} Part */

const FRAME = /^ {2}File "([^"]+)", line (\d+)(?:, in (.+))?/;
const FOREIGN = /(?:\/site-packages\/|\/dist-packages\/|\/lib\/python3|<frozen |\/gnomon\/runners\/)/;

/** @param {string} text @returns {Part[]} */
export function partsOf(text) {
  /** @type {Part[]} */
  const parts = [];
  for (const line of text.replace(/\n$/, '').split('\n')) {
    const frame = FRAME.exec(line);
    const last = parts.at(-1);
    if (frame) parts.push({ kind: 'frame', text: line, place: `${frame[1]}:${frame[2]}`, foreign: FOREIGN.test(frame[1]) });
    else if (last?.kind === 'frame' && /^ {3,}/.test(line)) last.text += `\n${line}`;
    else if (last?.kind === 'text') last.text += `\n${line}`;
    else parts.push({ kind: 'text', text: line });
  }
  return parts;
}

/** Put neighbouring foreign frames together. @param {string} text @returns {(Part | { kind: 'folded', frames: Part[] })[]} */
export function folded(text) {
  /** @type {any[]} */
  const groups = [];
  for (const part of partsOf(text)) {
    const last = groups.at(-1);
    if (part.kind !== 'frame' || !part.foreign) groups.push(part);
    else if (last?.kind === 'folded') last.frames.push(part);
    else groups.push({ kind: 'folded', frames: [part] });
  }
  return groups;
}
