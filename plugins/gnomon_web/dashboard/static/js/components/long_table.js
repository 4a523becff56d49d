// Tables of any length: only the rows near the viewport are in the document, the others are empty space of their height.
import { each, h } from '../core/dom.js';
import { computed, effect, onDispose, signal, untracked } from '../core/signals.js';

const MARGIN = 10; // rows above and below the viewport: to build one takes 1 to 2 ms
const STEP = 10; // rows by which the part moves
const FIRST_HEIGHT = 57; // pixels of a row, until one was measured

/**
 * @param {{ name: string, head: any, ids: () => string[], row: (id: string) => Element, whole: number }} table one of at most `whole` rows is shown whole
 * @returns {any} the table
 */
export function longTable({ name, head, ids, row, whole }) {
  const part = signal('0 30');
  let height = FIRST_HEIGHT;
  const range = computed(() => part.value.split(' ').map(Number));
  const count = computed(() => ids().length);
  const isLong = computed(() => count.value > whole);
  const shown = () => (isLong.value ? ids().slice(range.value[0], range.value[1]) : ids());
  const above = computed(() => (isLong.value ? Math.min(range.value[0], count.value) : 0));
  const below = computed(() => (isLong.value ? Math.max(count.value - range.value[1], 0) : 0));
  const space = (/** @type {{ value: number }} */ rows) =>
    h('tbody', { class: 'space', 'aria-hidden': 'true', hidden: () => rows.value === 0, vars: () => ({ height: `${rows.value * height}px` }) }, h('tr', null, h('td', { colspan: 9 })));
  const [before, body, after] = [space(above), h('tbody'), space(below)];
  const measure = () => {
    if (!untracked(() => isLong.value) || !body.isConnected) return;
    const rows = body.children;
    if (rows.length > 1) height = Math.max((rows[rows.length - 1].getBoundingClientRect().bottom - rows[0].getBoundingClientRect().top) / rows.length, 20);
    const top = (above.peek() > 0 ? before : body).getBoundingClientRect().top;
    const first = Math.floor(Math.max(-top, 0) / height / STEP) * STEP;
    const from = Math.max(Math.min(first, count.peek() - STEP) - MARGIN, 0);
    part.value = `${from} ${from + Math.ceil((innerHeight / height) / STEP) * STEP + 2 * MARGIN + STEP}`;
  };
  let isWaiting = false;
  const soon = () => {
    if (isWaiting) return;
    isWaiting = true;
    requestAnimationFrame(() => {
      isWaiting = false;
      measure();
    });
  };
  addEventListener('scroll', soon, { passive: true });
  addEventListener('resize', soon);
  onDispose(() => {
    removeEventListener('scroll', soon);
    removeEventListener('resize', soon);
  });
  effect(() => {
    ids();
    soon();
  });
  each(body, shown, row);
  return h('table', { class: name, 'aria-rowcount': () => count.value + 1 }, [head, before, body, after]);
}
