// The log of a run. The server filters and counts all lines that it keeps; new lines arrive over the live connection.
import { each, h } from '../core/dom.js';
import { batch, computed, effect, onDispose, signal } from '../core/signals.js';
import { get } from '../model/api.js';
import { clean } from '../model/sanitize.js';
import { connection, onLog } from '../model/session.js';
import * as store from '../model/store.js';
import { icon } from '../components/icons.js';
import { copyButton, failure, panel, skeleton } from '../components/common.js';
import { toast } from '../components/toasts.js';
import { number, timeOfDay } from '../i18n/format.js';
import { t } from '../i18n/index.js';

/** @typedef {import('../types.d.ts').LogLine} LogLine */
/** @typedef {import('../types.d.ts').LogSummary} LogSummary */
/** @typedef {{ level: string, q: string }} Wanted */

const MAX_LINES = 1000; // in one answer
const LEVELS = ['debug', 'info', 'warning', 'error'];
const MAX_KEPT = 2000; // lines that the server keeps of a run
const RECOUNT_LINES_MS = 3000;
const TYPING_MS = 120;

/** @param {string} id */
export function logPanel(id) {
  const wanted = signal(/** @type {Wanted} */ ({ level: 'debug', q: '' }));
  const { lines, summary, isLoading, error, again, earlier } = linesOf(id, wanted);
  const follow = signal(true);
  const wrap = signal(true);
  const byNumber = computed(() => new Map(lines.value.map((line) => [String(line.number), line])));
  const isFiltered = () => wanted.value.q !== '' || wanted.value.level !== 'debug';
  const isEmpty = computed(() => lines.value.length === 0 && !isFiltered());
  /** @type {HTMLElement} */
  let box;
  effect(() => {
    lines.value;
    if (follow.value) requestAnimationFrame(() => box && (box.scrollTop = box.scrollHeight));
  });
  const scrolled = () => {
    follow.value = box.scrollTop + box.clientHeight >= box.scrollHeight - 24;
  };
  let timer = 0;
  const type = (/** @type {any} */ event) => {
    clearTimeout(timer);
    timer = setTimeout(() => (wanted.value = { ...wanted.peek(), q: event.target.value.trim() }), TYPING_MS);
  };
  onDispose(() => clearTimeout(timer));
  return panel(t('log'), [
    () => error.value && failure(error.value, again),
    () => isEmpty.value && !error.value && (isLoading.value ? skeleton(3) : h('p', { class: 'quiet-line' }, t('log.none'))),
    h('p', { class: 'log-summary', role: 'status', 'aria-busy': () => isLoading.value && 'true', hidden: () => isEmpty.value }, () => summary.value && describeLog(summary.value, lines.value, isFiltered(), (level) => (wanted.value = { ...wanted.peek(), level }), () => void earlier())),
    h('div', {
      class: () => `log${wrap.value ? ' wrap' : ''}`,
      role: 'log',
      'aria-live': 'off',
      'aria-label': t('log'),
      tabindex: 0,
      hidden: () => lines.value.length === 0,
      ref: (/** @type {HTMLElement} */ element) => {
        box = element;
        each(element, () => lines.value.map((line) => String(line.number)), (number) => lineRow(/** @type {LogLine} */ (byNumber.peek().get(number))));
      },
      onscroll: scrolled,
    }),
  ], {
    class: 'log-panel',
    tools: h('div', { class: 'buttons' }, [
      h('label', { class: 'search' }, icon('search'), h('input', { type: 'search', placeholder: t('log.search'), 'aria-label': t('log.search'), oninput: type })),
      h('select', { 'aria-label': t('log.level'), value: () => wanted.value.level, onchange: (/** @type {any} */ event) => (wanted.value = { ...wanted.peek(), level: event.target.value }) }, LEVELS.map((one) => h('option', { value: one }, one))),
      h('button', { type: 'button', class: 'quiet', 'aria-pressed': () => String(wrap.value), onclick: () => (wrap.value = !wrap.value) }, t('log.wrap')),
      h('button', { type: 'button', class: 'quiet', 'aria-pressed': () => String(follow.value), onclick: () => (follow.value = !follow.value) }, t('log.follow')),
      copyButton(() => textOf(lines.peek()), `${t('copy')}: ${t('log')}`),
      h('button', { type: 'button', class: 'quiet', onclick: () => download(id, wanted.peek()) }, icon('down'), () => (isFiltered() && summary.value ? t('log.download.found', { n: number(summary.value.matching) }) : t('log.download'))),
    ]),
  });
}

/**
 * What is kept, how much of it is shown, and the errors and warnings in it, which lead to them.
 * @param {LogSummary} summary @param {LogLine[]} shown @param {boolean} isFiltered @param {(level: string) => void} choose @param {() => void} earlier
 */
function describeLog({ first, total, matching, levels }, shown, isFiltered, choose, earlier) {
  const count = (/** @type {'error' | 'warning'} */ level) => levels[level] > 0 && h('button', { type: 'button', class: `quiet small count ${level}`, onclick: () => choose(level) }, t(`log.count.${level}`, { n: number(levels[level]) }));
  const isCut = shown.length < matching;
  return [
    count('error'),
    count('warning'),
    h('span', null, isFiltered ? t('log.found', { n: number(matching), m: number(total) }) : t('log.total', { n: number(total) })),
    isCut && h('span', null, t('log.shown', { n: number(shown.length) })),
    isCut && h('button', { type: 'button', class: 'quiet small', onclick: earlier }, t('log.earlier')),
    first !== null && first > 1 && h('span', { class: 'gone' }, t('log.gone', { n: number(first - 1) })),
  ];
}

/** @param {LogLine[]} lines */
const textOf = (lines) => lines.map((line) => `${line.at} ${line.level} ${line.text}\n`).join('');

/** @param {string} id */
const pathOf = (id) => `/scheduler/executions/${encodeURIComponent(id)}/log`;

/** @param {Wanted} wanted */
const filtersOfLog = ({ level, q }) => ({ level: level === 'debug' ? null : level, q: q || null });

/** Download all lines that the server keeps and that match, not only those shown. @param {string} id @param {Wanted} wanted */
async function download(id, wanted) {
  try {
    const parts = [];
    for (let after = /** @type {number | null} */ (0); after !== null;) {
      const page = await get(pathOf(id), { ...filtersOfLog(wanted), after, limit: MAX_LINES });
      parts.push(textOf(page.items));
      after = page.next;
    }
    const address = URL.createObjectURL(new Blob(parts, { type: 'text/plain' }));
    h('a', { href: address, download: `${id}.log` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  } catch (error) {
    toast(t('load.failed', { reason: /** @type {Error} */ (error).message }), { bad: true });
  }
}

/** @param {LogLine} line */
const lineRow = (line) =>
  h('div', { class: `line ${line.level}` }, h('time', { datetime: line.at, class: 'num' }, timeOfDay(line.at)), h('span', { class: 'level' }, line.level), h('span', { class: 'text' }, clean(line.text)));

/** The rank of a level, as the server counts it. @param {string} level */
const rank = (level) => ({ trace: 0, debug: 0, info: 1, notice: 1, warning: 2, warn: 2 })[level.toLowerCase()] ?? 3;

/** Whether the server would count a line among those wanted. @param {LogLine} line @param {Wanted} wanted */
const isWanted = (line, { level, q }) => rank(line.level) >= rank(level) && line.text.toLowerCase().includes(q.toLowerCase());

/** The newest lines that match, with what the server counts; live lines are added. @param {string} id @param {{ value: Wanted, peek(): Wanted }} wanted */
function linesOf(id, wanted) {
  const lines = signal(/** @type {LogLine[]} */ ([]));
  const summary = signal(/** @type {LogSummary | null} */ (null));
  const isLoading = signal(true);
  const error = signal(/** @type {Error | null} */ (null));
  let abort = new AbortController();
  let recount = 0;
  /** @type {LogLine[]} that arrived during a request, which may predate them */
  let fresh = [];
  const read = async (/** @type {Record<string, any>} */ more = {}) => {
    abort.abort();
    abort = new AbortController();
    const { signal: stop } = abort;
    isLoading.value = true;
    fresh = [];
    try {
      const page = await get(pathOf(id), { ...filtersOfLog(wanted.peek()), ...more, newest: true, summary: true, limit: MAX_LINES }, stop);
      batch(() => {
        summary.value = page.summary;
        lines.value = more.before ? merged(page.items, lines.peek()) : page.items;
        error.value = null;
        isLoading.value = false;
        add(fresh);
      });
    } catch (problem) {
      if (!stop.aborted) batch(() => ((error.value = /** @type {Error} */ (problem)), (isLoading.value = false)));
    }
  };
  const add = (/** @type {LogLine[]} */ arrived) => {
    const known = summary.peek();
    if (isLoading.peek()) fresh.push(...arrived);
    const news = known ? arrived.filter((line) => line.number > (known.last ?? 0)) : [];
    if (!known || news.length === 0) return;
    const matching = news.filter((line) => isWanted(line, wanted.peek()));
    const levels = { ...known.levels };
    for (const line of news) levels[LEVELS[rank(line.level)]] += 1;
    summary.value = { ...known, first: known.first ?? news[0].number, last: news[news.length - 1].number, total: known.total + news.length, matching: known.matching + matching.length, levels };
    lines.value = [...lines.peek(), ...matching];
  };
  effect(() => {
    store.generation.value;
    wanted.value;
    void read();
    return () => abort.abort();
  });
  onDispose(onLog((frame) => {
    if (frame.execution_id !== id) return;
    add(frame.lines);
    const known = summary.peek();
    // The store has dropped old lines since they were counted.
    if (known && known.total > MAX_KEPT) recount ||= setTimeout(() => ((recount = 0), void read()), RECOUNT_LINES_MS);
  }));
  onDispose(() => clearTimeout(recount));
  onDispose(connection().subscribe(`log:${id}`));
  return { lines, summary, isLoading, error, again: () => read(), earlier: () => read({ before: lines.peek()[0]?.number }) };
}

/** @param {LogLine[]} earlier @param {LogLine[]} later */
function merged(earlier, later) {
  const first = later[0]?.number ?? Infinity;
  return [...earlier.filter((line) => line.number < first), ...later];
}
