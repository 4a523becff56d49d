// A scrolling box of any number of rows: only those in view are in the document. A row has a fixed height until it is
// seen to be higher; what is seen does not move when a row above it turns out to be higher.
import { each, h } from '../core/dom.js';
import { effect, onDispose, signal } from '../core/signals.js';

export const ROW_HEIGHT = 22; // pixels, as in the style sheet
const OVERSCAN = 8; // rows above and below

/** @typedef {{ count: number, at(row: number): { key: string }, rowOf(key: string): number }} Rows */

/**
 * @param {{ value: Rows, peek(): Rows }} rows @param {(key: string) => Element} make @param {Record<string, any>} props of the box
 * @param {(isAtEnd: boolean, isUp: boolean) => void} scrolled
 */
export function virtualRows(rows, make, props, scrolled) {
  const range = signal('0 0');
  /** @type {Map<string, number>} pixels by which a row is higher */
  const extras = new Map();
  /** @type {{ row: number, sum: number }[]} the rows that are higher, and by how much all up to each are */
  let higher = [];
  /** @type {string | null} */
  let target = null;
  let [lastTop, isWaiting] = [0, false];
  const lines = h('div', { class: 'rows' });
  const box = h('div', props, h('div', { class: 'sizer', 'aria-hidden': 'true' }), lines);

  const extraBefore = (/** @type {number} */ row) => {
    let [low, high] = [0, higher.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (higher[middle].row < row) low = middle + 1;
      else high = middle;
    }
    return low ? higher[low - 1].sum : 0;
  };
  const topOf = (/** @type {number} */ row) => row * ROW_HEIGHT + extraBefore(row);
  const rowAt = (/** @type {number} */ top) => {
    let [low, high] = [0, rows.peek().count];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (topOf(middle + 1) <= top) low = middle + 1;
      else high = middle;
    }
    return low;
  };
  const sum = () => {
    const found = [...extras].map(([key, extra]) => ({ row: rows.peek().rowOf(key), sum: extra })).filter((one) => one.row >= 0);
    found.sort((a, b) => a.row - b.row);
    for (let index = 1; index < found.length; index += 1) found[index].sum += found[index - 1].sum;
    higher = found;
  };
  const place = () => {
    const { count } = rows.peek();
    const from = Math.max(rowAt(box.scrollTop) - OVERSCAN, 0);
    const to = Math.min(rowAt(box.scrollTop + box.clientHeight) + OVERSCAN + 1, count);
    box.style.setProperty('--height', `${topOf(count)}px`);
    box.style.setProperty('--top', `${topOf(Math.min(from, count))}px`);
    range.value = `${from} ${to}`;
  };
  const measure = () => {
    const first = rowAt(box.scrollTop);
    const from = Number(range.peek().split(' ')[0]);
    let [above, isChanged] = [0, false];
    [...lines.children].forEach((element, index) => {
      const row = from + index;
      if (row >= rows.peek().count) return;
      const { key } = rows.peek().at(row);
      const extra = Math.max(/** @type {HTMLElement} */ (element).offsetHeight - ROW_HEIGHT, 0);
      const change = extra - (extras.get(key) ?? 0);
      if (change === 0) return;
      isChanged = true;
      if (extra) extras.set(key, extra);
      else extras.delete(key);
      if (row < first) above += change;
    });
    if (!isChanged) return;
    sum();
    place();
    if (above) box.scrollTop += above;
    aim();
  };
  const aim = () => {
    const row = target === null ? -1 : target === 'end' ? rows.peek().count : rows.peek().rowOf(target);
    if (row < 0) return;
    box.scrollTop = target === 'end' ? box.scrollHeight : topOf(row) - box.clientHeight / 3;
    place();
  };
  const soon = () => {
    if (isWaiting) return;
    isWaiting = true;
    requestAnimationFrame(() => {
      isWaiting = false;
      if (!box.isConnected) return;
      place();
      aim();
      measure();
    });
  };
  box.addEventListener('scroll', () => {
    const isUp = box.scrollTop < lastTop - 1;
    lastTop = box.scrollTop;
    place();
    soon();
    scrolled(box.scrollTop + box.clientHeight >= box.scrollHeight - ROW_HEIGHT, isUp);
  });
  for (const kind of ['wheel', 'pointerdown', 'keydown', 'touchstart']) box.addEventListener(kind, () => (target = null), { passive: true });
  const watcher = new ResizeObserver(soon);
  watcher.observe(box);
  watcher.observe(lines);
  onDispose(() => watcher.disconnect());
  effect(() => {
    rows.value;
    sum();
    place();
    soon();
  });
  each(lines, () => {
    const [from, to] = range.value.split(' ').map(Number);
    const { count } = rows.value;
    return Array.from({ length: Math.max(Math.min(to, count) - from, 0) }, (_, index) => rows.value.at(from + index).key);
  }, make);
  return {
    box,
    /** Keep a row in view, or the end, until the reader scrolls. @param {string | null} key */
    show(key) {
      target = key;
      soon();
    },
    /** The first row in view. */
    first: () => rowAt(box.scrollTop),
    /** Forget the heights that were seen. */
    reset() {
      extras.clear();
      sum();
      soon();
    },
  };
}
