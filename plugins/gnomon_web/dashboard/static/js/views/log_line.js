// The rows of a log: a line with its number as a link, the heading of a step, and what stands for lines that repeat.
import { h } from '../core/dom.js';
import { signal } from '../core/signals.js';
import { clean } from '../model/sanitize.js';
import { icon } from '../components/icons.js';
import { number, timeOfDay } from '../i18n/format.js';
import { t } from '../i18n/index.js';

/** @typedef {import('../types.d.ts').LogLine} LogLine */
/** @typedef {import('../types.d.ts').LogRepeat} LogRepeat */
/** @typedef {import('../model/log_rows.js').LogRow} LogRow */
/** @typedef {import('../model/run_log.js').RunLog} RunLog */

const MOST_CHARACTERS = 2000; // of a line, until it is opened

/**
 * @param {RunLog} log @param {string} key @param {{ value: number | null }} target the line of the address @param {{ value: string }} searched
 * @param {(number: number, element: HTMLElement) => void} choose
 */
export function logRow(log, key, target, searched, choose) {
  const isOpen = signal(false);
  const read = () => log.rows.value;
  const row = () => {
    const index = read().rowOf(key);
    return index < 0 ? null : /** @type {LogRow} */ (read().at(index));
  };
  const line = () => {
    const found = row();
    return found && log.line(found);
  };
  const head = row();
  if (head?.kind === 'step') return foldRow('step', () => row() ?? head, () => log.turn(key), [clean(head.step.name), ' ', h('span', { class: 'quiet-line' }, () => linesOfStep(row() ?? head))]);
  if (head?.kind === 'repeat') return foldRow('repeat', () => row() ?? head, () => log.turn(key), repeated(head.repeat));
  return h('div', { class: () => `line ${line()?.level ?? ''}${target.value !== null && line()?.number === target.value ? ' target' : ''}` }, () => {
    const found = line();
    if (!found) return h('span', { class: 'waits', 'aria-label': t('loading') }, '…');
    return [
      h('a', { class: 'num', href: `#L${found.number}`, 'aria-label': t('log.line', { n: number(found.number) }), onclick: (/** @type {MouseEvent} */ event) => choose(found.number, /** @type {HTMLElement} */ (event.currentTarget)) }, found.number),
      h('time', { datetime: found.at, class: 'num' }, timeOfDay(found.at)),
      h('span', { class: 'level' }, found.level),
      textOfLine(log, found, isOpen, searched),
    ];
  });
}

/** @param {string} kind @param {() => any} row @param {() => void} turn @param {any} words */
const foldRow = (kind, row, turn, words) =>
  h('div', { class: `line ${kind}` }, h('button', { type: 'button', class: 'quiet fold', 'aria-expanded': () => String(row().isOpen), onclick: turn }, icon('more'), h('span', null, words)));

/** @param {any} row */
const linesOfStep = (row) => t('log.total', { n: number(row.step.last - row.step.first + 1) });

/** @param {LogRepeat} repeat */
const repeated = ({ period, times }) => t(period === 1 ? 'log.repeated.one' : 'log.repeated', { n: number(period), m: number(times) });

/** The text of a line; of one with several lines, the first, until it is opened. @param {RunLog} log @param {LogLine} line @param {{ value: boolean }} isOpen @param {{ value: string }} searched */
function textOfLine(log, line, isOpen, searched) {
  const text = clean(line.text);
  const [first] = text.split('\n', 1);
  const lines = text.split('\n').length;
  const isLong = lines > 1 || text.length > MOST_CHARACTERS;
  const more = () => (isOpen.value ? t('log.less') : lines > 1 ? t('log.more.lines', { n: number(lines - 1) }) : t('log.more.characters', { n: number(text.length - MOST_CHARACTERS) }));
  return h('span', { class: () => `text${isOpen.value ? ' open' : ''}` }, [
    () => (isOpen.value ? parts(log, line, text).map((part) => (typeof part === 'string' ? marked(part, searched.value) : part)) : marked(first.slice(0, MOST_CHARACTERS), searched.value)),
    isLong && h('button', { type: 'button', class: 'quiet small more', 'aria-expanded': () => String(isOpen.value), onclick: () => (isOpen.value = !isOpen.value) }, more),
  ]);
}

/** The whole text, with folds in place of what only repeats. @param {RunLog} log @param {LogLine} line @param {string} text @returns {any[]} */
function parts(log, line, text) {
  const lines = text.split('\n');
  const repeats = log.outline.value?.texts.find((one) => one.number === line.number)?.repeats ?? [];
  const found = [];
  let next = 0;
  for (const repeat of repeats) {
    found.push(`${lines.slice(next, repeat.first).join('\n')}\n`, h('em', null, repeated(repeat)), '\n');
    next = repeat.last + 1;
  }
  return [...found, lines.slice(next).join('\n')];
}

/** @param {string} text @param {string} searched @returns {any[]} */
function marked(text, searched) {
  const [folded, wanted] = [text.toLowerCase(), searched.toLowerCase()];
  if (!wanted || folded.length !== text.length) return [text];
  const found = [];
  let end = 0;
  for (let start = folded.indexOf(wanted); start >= 0; start = folded.indexOf(wanted, end)) {
    found.push(text.slice(end, start), h('mark', null, text.slice(start, start + wanted.length)));
    end = start + wanted.length;
  }
  return [...found, text.slice(end)];
}
