// The log of a run: of any length, searched and counted on the server, with a link for each line.
import { h } from '../core/dom.js';
import { batch, computed, effect, onDispose, signal } from '../core/signals.js';
import { LogSearch } from '../model/log_search.js';
import { EVERYTHING, queryOfLog, RunLog } from '../model/run_log.js';
import { icon } from '../components/icons.js';
import { failure, panel, skeleton } from '../components/common.js';
import { toast } from '../components/toasts.js';
import { virtualRows } from '../components/virtual_rows.js';
import { number } from '../i18n/format.js';
import { t } from '../i18n/index.js';
import { logRow } from './log_line.js';

/** @typedef {import('../types.d.ts').LogLine} LogLine */

const LEVELS = ['debug', 'info', 'warning', 'error'];
const TYPING_MS = 120;

/** The line that the address names, such as #L1234. */
const lineOfAddress = () => Number(/^#L(\d{1,15})$/.exec(location.hash)?.[1] ?? 0) || null;

/** @param {string} id */
export function logPanel(id) {
  const log = new RunLog(id);
  const target = signal(lineOfAddress());
  const follow = signal(target.peek() === null);
  const wrap = signal(false);
  const missing = signal(/** @type {number | null} */ (null));
  const seen = signal(0); // the last line when the reader left the end
  const search = new LogSearch(log, (line) => void jump(line));
  const searched = computed(() => search.text.value || log.filter.value.q);
  const view = virtualRows(log.rows, (key) => logRow(log, key, target, searched, choose), {
    class: () => `log${wrap.value ? ' wrap' : ''}`,
    role: 'log',
    'aria-live': 'off',
    'aria-label': t('log'),
    tabindex: 0,
    hidden: () => log.rows.value.count === 0,
  }, (isAtEnd, isUp) => {
    if (isAtEnd) follow.value = true;
    else if (isUp) follow.value = false;
  });
  effect(() => {
    if (follow.value) seen.value = log.summary.value?.last ?? 0;
    if (follow.value) (log.rows.value, view.show('end'));
  });
  effect(() => {
    wrap.value;
    view.reset();
  });

  /** Show a line, whatever is loaded, filtered or folded. @param {number} line */
  async function jump(line) {
    const known = log.summary.peek();
    const isKept = known !== null && known.first !== null && line >= known.first && line <= (known.last ?? 0);
    batch(() => {
      target.value = line;
      missing.value = isKept ? null : line;
      follow.value = false;
    });
    if (!isKept) return;
    let key = `L${line}`;
    if (log.isFiltered.peek()) {
      const page = await log.read({ ...queryOfLog(log.filter.peek()), after: line - 1, limit: 1, summary: true });
      if (page.items[0]?.number === line) key = `M${page.offset}`;
      else log.filter.value = EVERYTHING;
    }
    log.reveal(line);
    view.box.scrollIntoView({ block: 'nearest' });
    view.show(key);
  }

  /** @param {number} line */
  function choose(line) {
    search.number = line;
    batch(() => ((target.value = line), (missing.value = null), (follow.value = false)));
    view.show(null);
  }

  const onHash = () => {
    const line = lineOfAddress();
    if (line !== null && line !== target.peek()) void jump(line);
  };
  addEventListener('hashchange', onHash);
  onDispose(() => removeEventListener('hashchange', onHash));
  let isFirst = true;
  effect(() => {
    if (log.summary.value === null || !isFirst) return;
    isFirst = false;
    if (target.peek() !== null) void jump(/** @type {number} */ (target.peek()));
  });
  const unseen = computed(() => (follow.value ? 0 : Math.max((log.summary.value?.last ?? 0) - seen.value, 0)));
  return panel(t('log'), [
    () => log.error.value && failure(log.error.value, () => void log.count()),
    () => log.summary.value === null && !log.error.value && skeleton(3),
    () => log.summary.value?.total === 0 && h('p', { class: 'quiet-line' }, t('log.none')),
    h('p', { class: 'log-summary', role: 'status', hidden: () => !log.summary.value?.total }, () => log.summary.value && summaryOf(log, log.summary.value, search)),
    () => missing.value !== null && h('p', { class: 'quiet-line', role: 'status' }, t('log.missing', { n: number(missing.value) })),
    h('div', { class: 'log-box' }, [
      view.box,
      () => unseen.value > 0 && h('button', { type: 'button', class: 'log-new', onclick: () => (follow.value = true) }, icon('down'), t('log.new', { n: number(unseen.value) })),
    ]),
  ], { class: 'log-panel', tools: toolsOf(id, log, search, { follow, wrap, first: view.first }) });
}

/** What is kept, and the errors and warnings in it. @param {RunLog} log @param {import('../types.d.ts').LogSummary} summary @param {LogSearch} search */
function summaryOf(log, { first, total, matching, levels }, search) {
  const count = (/** @type {'error' | 'warning'} */ level) => levels[level] > 0 && h('button', { type: 'button', class: `quiet small count ${level}`, onclick: () => (log.filter.value = { ...log.filter.peek(), level }) }, t(`log.count.${level}`, { n: number(levels[level]) }));
  return [
    count('error'),
    count('warning'),
    h('span', null, log.isFiltered.value ? t('log.found', { n: number(matching), m: number(total) }) : t('log.total', { n: number(total) })),
    first !== null && first > 1 && h('span', { class: 'gone' }, t('log.gone', { n: number(first - 1) })),
    levels.error > 0 && h('button', { type: 'button', class: 'quiet small', onclick: () => void search.stepToError() }, t('log.error.next')),
  ];
}

/** @param {string} id @param {RunLog} log @param {LogSearch} search @param {{ follow: { value: boolean }, wrap: { value: boolean }, first: () => number }} view */
function toolsOf(id, log, search, { follow, wrap, first }) {
  let timer = 0;
  onDispose(() => clearTimeout(timer));
  const firstLine = () => {
    const rows = log.rows.peek();
    const row = rows.count > 0 ? rows.at(Math.min(first(), rows.count - 1)) : null;
    return row?.kind === 'line' ? row.number : 1;
  };
  const type = (/** @type {any} */ event) => {
    const text = event.target.value.trim();
    clearTimeout(timer);
    timer = setTimeout(() => {
      const { q } = log.filter.peek();
      if (q) log.filter.value = { ...log.filter.peek(), q: text };
      void search.start(text, firstLine());
    }, TYPING_MS);
  };
  const key = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === 'Enter') void search.step(event.shiftKey ? -1 : 1);
  };
  const hasText = () => search.text.value !== '';
  const toggle = (/** @type {string} */ name, /** @type {() => boolean} */ isOn, /** @type {() => void} */ turn) => h('button', { type: 'button', class: 'quiet', 'aria-pressed': () => String(isOn()), onclick: turn }, name);
  return h('div', { class: 'buttons' }, [
    h('label', { class: 'search' }, icon('search'), h('input', { type: 'search', placeholder: t('log.search'), 'aria-label': t('log.search'), oninput: type, onkeydown: key })),
    h('span', { class: 'log-find', hidden: () => !hasText() }, [
      h('span', { class: 'num', role: 'status' }, () => hits(search)),
      h('button', { type: 'button', class: 'quiet icon-only', 'aria-label': t('log.hit.previous'), onclick: () => void search.step(-1) }, icon('back')),
      h('button', { type: 'button', class: 'quiet icon-only', 'aria-label': t('log.hit.next'), onclick: () => void search.step(1) }, icon('forth')),
      toggle(t('log.only'), () => log.filter.value.q !== '', () => (log.filter.value = { ...log.filter.peek(), q: log.filter.peek().q ? '' : search.text.peek() })),
    ]),
    h('select', { 'aria-label': t('log.level'), value: () => log.filter.value.level, onchange: (/** @type {any} */ event) => (log.filter.value = { ...log.filter.peek(), level: event.target.value }) }, LEVELS.map((one) => h('option', { value: one }, one))),
    toggle(t('log.wrap'), () => wrap.value, () => (wrap.value = !wrap.value)),
    toggle(t('log.follow'), () => follow.value, () => (follow.value = !follow.value)),
    h('button', { type: 'button', class: 'quiet', onclick: () => void download(id, log) }, icon('down'), () => (log.isFiltered.value && log.summary.value ? t('log.download.found', { n: number(log.summary.value.matching) }) : t('log.download'))),
  ]);
}

/** @param {LogSearch} search */
const hits = (search) => (search.count.value === null ? '…' : search.place.value === null ? t('log.hits.none') : t('log.hits', { n: number(search.place.value), m: number(search.count.value) }));

/** @param {LogLine[]} lines */
const textOf = (lines) => lines.map((line) => `${line.at} ${line.level} ${line.text}\n`).join('');

/** Download all lines that the server keeps and that match, not only those shown. @param {string} id @param {RunLog} log */
async function download(id, log) {
  try {
    const parts = [];
    for await (const lines of log.all()) parts.push(textOf(lines));
    const address = URL.createObjectURL(new Blob(parts, { type: 'text/plain' }));
    h('a', { href: address, download: `${id}.log` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  } catch (error) {
    toast(t('load.failed', { reason: /** @type {Error} */ (error).message }), { bad: true });
  }
}
