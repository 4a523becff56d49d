// The durations of a job's runs over time, with a band from the median to the 95th percentile, and below them how late they started.
import { h, s } from '../core/dom.js';
import { clean } from '../model/sanitize.js';
import { asTable } from '../components/table.js';
import { dayMonth, duration, hourMinute, number, shortMoment } from '../i18n/format.js';
import { t, word } from '../i18n/index.js';
import { withKeys } from './mark_keys.js';
import { tickLabel, ticks } from './time_axis.js';

/** @typedef {import('../types.d.ts').Run} Run */
/** @typedef {{ at: string, what: string, actor: string | null, keys: string[] }} Change of the job's definition */
/** @typedef {{ run: Run, count: number, x: number, seconds: number }} Bar the longest of the runs that start on its pixels */

const [LEFT, AXIS, DURATIONS, DELAYS, BELOW] = [52, 20, 160, 56, 6];
const COLUMN = 5; // pixels: runs that start closer together are one bar
const WIDEST = 12;
const WORST_FIRST = ['failed', 'cancelled', 'success'];

/** How long after it was due a run started; 0 for one that was triggered. @param {Run} run */
export const startDelay = (run) => (run.is_manual ? 0 : Math.max(run.delay ?? (Date.parse(run.timestamp) - Date.parse(run.scheduled_time)) / 1000, 0));

/** @param {{ runs: Run[], changes: Change[], p50: number | null, p95: number | null, width: number, address: (run: Run) => string }} picture runs: newest first */
export function durationsChart({ runs, changes, p50, p95, width, address }) {
  const shown = runs.filter((run) => run.execution_time !== null);
  const times = shown.map((run) => Date.parse(run.timestamp));
  const [from, to] = [Math.min(...times), Math.max(...times)];
  const right = width - WIDEST;
  const place = (/** @type {number} */ at) => (to > from ? LEFT + ((at - from) / (to - from)) * (right - LEFT) : right);
  const bars = barsOf(shown, place, (run) => run.execution_time ?? 0);
  const top = niceTop(Math.max(...bars.map((bar) => bar.seconds), p95 ?? 0, 0.001));
  const late = Math.max(...shown.map(startDelay));
  const thick = Math.min(Math.max((right - LEFT) / bars.length - 2, COLUMN - 1), WIDEST);
  const height = AXIS + DURATIONS + AXIS + DELAYS + BELOW;
  const y = scale(AXIS, DURATIONS, top);
  const label = t('durations.label', { n: shown.length, p50: duration(p50), p95: duration(p95) });
  return withKeys(s('svg', { class: 'durations', width, height, viewBox: `0 0 ${width} ${height}`, role: 'group', 'aria-label': label }, [
    ticks(from, to, (width - LEFT) / 84).map((at) => s('g', { class: 'tick' }, [
      s('line', { x1: place(at), x2: place(at), y1: AXIS, y2: height }),
      tickLabel(place(at), width, to - from > 2 * 86_400_000 ? dayMonth(at) : hourMinute(at)),
    ])),
    rules(y, top, width),
    p50 !== null && p95 !== null && s('rect', { class: 'band', x: LEFT, width: Math.max(width - LEFT, 0), y: y(Math.min(p95, top)), height: Math.max(y(p50) - y(Math.min(p95, top)), 1) }),
    inSpan(changes, from, to).map((change) => s('g', { class: 'change' }, [s('line', { x1: place(Date.parse(change.at)), x2: place(Date.parse(change.at)), y1: AXIS - 4, y2: height }), s('title', null, changeText(change))])),
    bars.map((bar) => link(bar, address(bar.run), y, thick)),
    delays(barsOf(shown, place, startDelay), late, width, thick),
  ]));
}

/** How late runs started, on the same axis. @param {Bar[]} bars @param {number} late the longest delay @param {number} width @param {number} thick */
function delays(bars, late, width, thick) {
  const [begin, top] = [AXIS + DURATIONS + AXIS, niceTop(Math.max(late, 1))];
  const y = scale(begin, DELAYS, top);
  return s('g', { class: 'delays' }, [
    s('text', { class: 'axis', x: LEFT, y: begin - 5 }, t('durations.late')),
    rules(y, top, width),
    bars.filter((bar) => bar.seconds >= 0.1).map((bar) => s('rect', { class: 'delay', x: bar.x, y: y(bar.seconds), width: thick, height: Math.max(y(0) - y(bar.seconds), 2) }, s('title', null, `${shortMoment(bar.run.timestamp)} · ${duration(bar.seconds)}`))),
  ]);
}

/** @param {number} begin @param {number} height @param {number} top */
const scale = (begin, height, top) => (/** @type {number} */ seconds) => begin + (1 - seconds / top) * (height - 2);

/** @param {(seconds: number) => number} y @param {number} top @param {number} width */
const rules = (y, top, width) => [0, top].map((value) => [
  s('line', { class: 'rule', x1: LEFT, x2: width, y1: y(value), y2: y(value) }),
  s('text', { class: 'axis', x: LEFT - 8, y: y(value) + 4, 'text-anchor': 'end' }, value === 0 ? '0' : duration(value)),
]);

/** One bar for the runs that start on the same pixels: the worst status, and the longest of them. @param {Run[]} runs @param {(at: number) => number} place @param {(run: Run) => number} value @returns {Bar[]} */
function barsOf(runs, place, value) {
  /** @type {Map<number, Bar>} */
  const columns = new Map();
  for (const run of runs) {
    const x = place(Date.parse(run.timestamp));
    const column = Math.floor(x / COLUMN);
    const known = columns.get(column);
    const bar = { run, x: known?.x ?? x, count: (known?.count ?? 0) + 1, seconds: Math.max(value(run), known?.seconds ?? 0) };
    columns.set(column, known && WORST_FIRST.indexOf(known.run.status) <= WORST_FIRST.indexOf(run.status) ? { ...bar, run: known.run } : bar);
  }
  return [...columns.values()].sort((one, other) => one.x - other.x);
}

/** @param {Bar} bar @param {string} href @param {(seconds: number) => number} y @param {number} thick */
function link({ run, count, x, seconds }, href, y, thick) {
  const height = Math.max(y(0) - y(seconds), 2);
  const many = count > 1 ? `${t('durations.many', { n: number(count) })} ` : '';
  const description = `${many}${t(`status.${run.status}`)} · ${shortMoment(run.timestamp)} · ${duration(seconds)}`;
  return s('a', { href, 'aria-label': description, tabindex: -1 }, s('rect', { class: `mark ${run.status}`, x, y: y(0) - height, width: thick, height, rx: 1 }, s('title', null, description)));
}

/** @param {Change[]} changes @param {number} from @param {number} to */
const inSpan = (changes, from, to) => changes.filter(({ at }) => Date.parse(at) >= from && Date.parse(at) <= to);

/** @param {Change} change */
const changeText = ({ at, what, actor, keys }) => `${shortMoment(at)} · ${keys.length > 0 ? keys.map(clean).join(', ') : word('audit', what)} · ${clean(actor ?? '–')}`;

/** The changes of the definition that the chart marks, as text. @param {() => Run[]} read @param {() => Change[]} changes */
export const changeList = (read, changes) => () => {
  const times = read().map((run) => Date.parse(run.timestamp));
  const marked = inSpan(changes(), Math.min(...times), Math.max(...times));
  return marked.length > 0 && h('p', { class: 'quiet-line changes' }, t('durations.changes'), ' ', marked.slice(-5).map(changeText).join('; '));
};

/** The same as a table, run by run. @param {() => Run[]} read newest first @param {(run: Run) => string} address */
export function durationsTable(read, address) {
  const rows = () => read().map((run) => [h('a', { href: address(run) }, shortMoment(run.timestamp)), t(`status.${run.status}`), duration(run.execution_time), run.is_manual ? '–' : duration(startDelay(run))]);
  return asTable(t('durations'), [t('col.started'), t('col.status'), t('col.duration'), t('fact.late')], rows);
}

/** The next round number of seconds, minutes or hours. @param {number} seconds */
export function niceTop(seconds) {
  const unit = seconds > 3600 ? 3600 : seconds > 60 ? 60 : 1;
  const size = 10 ** Math.floor(Math.log10(seconds / unit));
  const steps = [1, 1.5, 2, 3, 4, 5, 6, 8, 10];
  return (steps.find((one) => one * size * unit >= seconds * 0.999) ?? 10) * size * unit;
}
