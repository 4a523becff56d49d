// The rows of a log as they are shown: its lines, the headings of its steps, and folds in place of what only repeats.

/** @typedef {import('../types.d.ts').LogOutline} LogOutline */
/** @typedef {{ key: string, kind: 'line' | 'match', number: number } | { key: string, kind: 'step', step: LogOutline['steps'][number], isOpen: boolean } | { key: string, kind: 'repeat', repeat: LogOutline['repeats'][number], isOpen: boolean }} LogRow */
/** @typedef {{ row: number, count: number, number: number, last: number, head: LogRow | null }} Part lines that follow each other from `number` on, or a head that stands before (and if closed for) the lines up to `last` */

/** @param {{ name: string, first: number }} step */
const stepKey = (step) => `S${step.first}`;
/** @param {{ first: number }} repeat */
const repeatKey = (repeat) => `R${repeat.first}`;

/** The rows of all kept lines. Steps are open and repeats are closed, unless their key is in `turned`. */
export class LogRows {
  /** @param {number} first @param {number} last @param {LogOutline | null} outline @param {ReadonlySet<string>} turned */
  constructor(first, last, outline, turned) {
    /** @type {Part[]} */
    this.parts = [];
    this.count = 0;
    const [steps, repeats] = [(outline?.steps ?? []).filter((one) => one.last >= first), (outline?.repeats ?? []).filter((one) => one.first >= first)];
    for (let [number, s, r] = [first, 0, 0]; number <= last;) {
      while (r < repeats.length && repeats[r].first < number) r += 1;
      const next = Math.min(steps[s] ? Math.max(steps[s].first, number) : Infinity, last + 1);
      if (next === number) {
        const step = steps[s++];
        const isOpen = !turned.has(stepKey(step));
        this.add({ key: stepKey(step), kind: 'step', step, isOpen }, number, step.last);
        if (!isOpen) number = step.last + 1;
      } else if (repeats[r]?.first === number) {
        const repeat = repeats[r++];
        const isOpen = turned.has(repeatKey(repeat));
        const until = Math.min(repeat.last, next - 1);
        this.add({ key: repeatKey(repeat), kind: 'repeat', repeat, isOpen }, number, until);
        if (!isOpen) number = until + 1;
        else number = this.addLines(number, until);
      } else {
        number = this.addLines(number, Math.min(next, repeats[r]?.first ?? Infinity, last + 1) - 1);
      }
    }
  }

  /** @param {LogRow} head @param {number} number @param {number} last */
  add(head, number, last) {
    this.parts.push({ row: this.count++, count: 1, number, last, head });
  }

  /** @param {number} number @param {number} last */
  addLines(number, last) {
    this.parts.push({ row: this.count, count: last - number + 1, number, last, head: null });
    this.count += last - number + 1;
    return last + 1;
  }

  /** @param {number} row @returns {LogRow} */
  at(row) {
    const part = this.parts[lastWhere(this.parts, (one) => one.row <= row)];
    if (part.head) return part.head;
    const number = part.number + row - part.row;
    return { key: `L${number}`, kind: 'line', number };
  }

  /** The row of a line, or of the closed fold that hides it. @param {number} number @returns {{ row: number, hiddenBy: string | null } | null} */
  of(number) {
    const part = this.parts[lastWhere(this.parts, (one) => one.number <= number)];
    if (!part || number > part.last) return null;
    return part.head ? { row: part.row, hiddenBy: part.head.key } : { row: part.row + number - part.number, hiddenBy: null };
  }

  /** The row with a key, -1 for none. @param {string} key */
  rowOf(key) {
    const number = Number(key.slice(1));
    if (key[0] === 'L') {
      const found = this.of(number);
      return found && !found.hiddenBy ? found.row : -1;
    }
    return this.parts.find((part) => part.head?.key === key)?.row ?? -1;
  }
}

/** The rows of the lines that match filters, by their place among them. */
export class MatchRows {
  /** @param {number} count */
  constructor(count) {
    this.count = count;
  }

  /** @param {number} row @returns {LogRow} */
  at(row) {
    return { key: `M${row}`, kind: 'match', number: row };
  }

  /** Nothing is hidden here. @param {number} _number @returns {{ row: number, hiddenBy: string | null } | null} */
  of(_number) {
    return null;
  }

  /** @param {string} key */
  rowOf(key) {
    return key[0] === 'M' ? Number(key.slice(1)) : -1;
  }
}

/** The last index for which a condition holds that holds up to some index. @template T @param {T[]} items @param {(item: T) => boolean} holds */
function lastWhere(items, holds) {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (holds(items[middle])) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
