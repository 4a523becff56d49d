// The log lines of a run; while it runs they arrive over the live connection.
import { each, h } from '../core/dom.js';
import { computed, effect, onDispose, signal } from '../core/signals.js';
import { get } from '../model/api.js';
import { clean } from '../model/sanitize.js';
import { connection, onLog } from '../model/session.js';
import * as store from '../model/store.js';
import { icon } from '../components/icons.js';
import { copyButton, failure, panel, skeleton } from '../components/common.js';
import { toast } from '../components/toasts.js';
import { timeOfDay } from '../i18n/format.js';
import { t } from '../i18n/index.js';

/** @typedef {import('../types.d.ts').LogLine} LogLine */

const MAX_LINES = 1000;
const LEVELS = ['debug', 'info', 'warning', 'error'];

/** @param {string} id */
export function logPanel(id) {
  const { lines, isLoading, error, again } = linesOf(id);
  const follow = signal(true);
  const wrap = signal(true);
  const level = signal('debug');
  const search = signal('');
  const shown = computed(() => lines.value.filter((line) => rank(line.level) >= rank(level.value) && line.text.toLowerCase().includes(search.value)));
  const byNumber = computed(() => new Map(lines.value.map((line) => [String(line.number), line])));
  /** @type {HTMLElement} */
  let box;
  effect(() => {
    shown.value;
    if (follow.value) requestAnimationFrame(() => box && (box.scrollTop = box.scrollHeight));
  });
  const scrolled = () => {
    follow.value = box.scrollTop + box.clientHeight >= box.scrollHeight - 24;
  };
  return panel(t('log'), [
    () => error.value && failure(error.value, again),
    () => lines.value.length === 0 && !error.value && (isLoading.value ? skeleton(3) : h('p', { class: 'quiet-line' }, t('log.none'))),
    h('p', { class: 'quiet-line', role: 'status' }, () => search.value !== '' && t('log.found', { n: shown.value.length, m: lines.value.length })),
    h('div', {
      class: () => `log${wrap.value ? ' wrap' : ''}`,
      role: 'log',
      'aria-live': 'off',
      'aria-label': t('log'),
      tabindex: 0,
      hidden: () => lines.value.length === 0,
      ref: (/** @type {HTMLElement} */ element) => {
        box = element;
        each(element, () => shown.value.map((line) => String(line.number)), (number) => lineRow(/** @type {LogLine} */ (byNumber.peek().get(number))));
      },
      onscroll: scrolled,
    }),
  ], {
    class: 'log-panel',
    tools: h('div', { class: 'buttons' }, [
      h('label', { class: 'search' }, icon('search'), h('input', { type: 'search', placeholder: t('log.search'), 'aria-label': t('log.search'), oninput: (/** @type {any} */ event) => (search.value = event.target.value.toLowerCase()) })),
      h('select', { 'aria-label': t('log.level'), onchange: (/** @type {any} */ event) => (level.value = event.target.value) }, LEVELS.map((one) => h('option', { value: one }, one))),
      h('button', { type: 'button', class: 'quiet', 'aria-pressed': () => String(wrap.value), onclick: () => (wrap.value = !wrap.value) }, t('log.wrap')),
      h('button', { type: 'button', class: 'quiet', 'aria-pressed': () => String(follow.value), onclick: () => (follow.value = !follow.value) }, t('log.follow')),
      copyButton(() => textOf(lines.peek()), `${t('copy')}: ${t('log')}`),
      h('button', { type: 'button', class: 'quiet', onclick: () => download(id) }, icon('down'), t('log.download')),
    ]),
  });
}

/** @param {LogLine[]} lines */
const textOf = (lines) => lines.map((line) => `${line.at} ${line.level} ${line.text}\n`).join('');

/** Download the whole log that the server keeps, not only the lines shown. @param {string} id */
async function download(id) {
  try {
    const parts = [];
    for await (const page of pagesOf(id)) parts.push(textOf(page));
    const address = URL.createObjectURL(new Blob(parts, { type: 'text/plain' }));
    h('a', { href: address, download: `${id}.log` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  } catch (error) {
    toast(t('load.failed', { reason: /** @type {Error} */ (error).message }), { bad: true });
  }
}

/** @param {string} id @returns {AsyncGenerator<LogLine[]>} */
async function* pagesOf(id) {
  let page = { items: [], next: /** @type {number | null} */ (0) };
  while (page.next !== null) {
    page = await get(`/scheduler/executions/${encodeURIComponent(id)}/log`, { after: page.next, limit: MAX_LINES });
    yield page.items;
  }
}

/** @param {LogLine} line */
const lineRow = (line) =>
  h('div', { class: `line ${line.level}` }, h('time', { datetime: line.at, class: 'num' }, timeOfDay(line.at)), h('span', { class: 'level' }, line.level), h('span', { class: 'text' }, clean(line.text)));

/** @param {string} level */
const rank = (level) => {
  const known = LEVELS.indexOf(level === 'critical' || level === 'fatal' ? 'error' : level);
  return known < 0 ? 1 : known;
};

/** @param {string} id */
function linesOf(id) {
  const lines = signal(/** @type {LogLine[]} */ ([]));
  const isLoading = signal(true);
  const error = signal(/** @type {Error | null} */ (null));
  const add = (/** @type {LogLine[]} */ fresh) => {
    const byNumber = new Map(lines.peek().map((line) => [line.number, line]));
    for (const line of fresh) byNumber.set(line.number, line);
    lines.value = [...byNumber.values()].sort((a, b) => a.number - b.number).slice(-MAX_LINES);
  };
  const read = async () => {
    try {
      for await (const page of pagesOf(id)) {
        add(page);
        error.value = null;
      }
    } catch (problem) {
      error.value = /** @type {Error} */ (problem);
    }
    isLoading.value = false;
  };
  effect(() => {
    store.generation.value;
    read();
  });
  onDispose(onLog((frame) => frame.execution_id === id && add(frame.lines)));
  onDispose(connection().subscribe(`log:${id}`));
  return { lines, isLoading, error, again: read };
}
