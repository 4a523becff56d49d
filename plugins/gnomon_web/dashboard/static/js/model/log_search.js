// Searches the log of a run on the server: how many lines have a text, and which is the next or the previous one.
import { batch, effect, signal } from '../core/signals.js';
import { EVERYTHING, queryOfLog } from './run_log.js';

/** @typedef {import('./run_log.js').RunLog} RunLog */
/** @typedef {import('../types.d.ts').LogLine} LogLine */

export class LogSearch {
  text = signal('');
  /** Lines that have the text; null while that is not known. */
  count = signal(/** @type {number | null} */ (null));
  /** The hit that is shown: its place among the hits, from 1 on. */
  place = signal(/** @type {number | null} */ (null));
  /** @type {number | null} */
  number = null;

  /** @param {RunLog} log @param {(line: number) => void} show */
  constructor(log, show) {
    this.log = log;
    this.show = show;
    effect(() => {
      this.text.value;
      batch(() => ((this.count.value = null), (this.place.value = null)));
    });
  }

  /** Search a text, from a line on. @param {string} text @param {number} from */
  start(text, from) {
    this.text.value = text;
    this.number = from - 1;
    return text ? this.step(1) : Promise.resolve();
  }

  /** Show the next hit, or the previous one; after the last comes the first. @param {1 | -1} by */
  async step(by) {
    const text = this.text.peek();
    if (!text) return;
    const near = by > 0 ? { after: this.number ?? 0 } : { before: Math.max(this.number ?? 1, 1), newest: true };
    let page = await this.ask(text, near);
    if (page && page.items.length === 0) page = await this.ask(text, by > 0 ? {} : { newest: true });
    if (!page || text !== this.text.peek()) return;
    const [line] = page.items;
    batch(() => {
      this.count.value = page?.summary?.matching ?? 0;
      this.place.value = line ? (page?.offset ?? 0) + 1 : null;
    });
    if (line) this.go(line.number);
  }

  /** Show a line of the log that is an error, the next one after the line that is shown. */
  async stepToError() {
    const errors = { level: 'error', q: '' };
    const read = (/** @type {object} */ query) => this.log.read({ ...queryOfLog(errors), limit: 1, ...query });
    try {
      let { items } = await read({ after: this.number ?? 0 });
      if (items.length === 0) ({ items } = await read({}));
      if (items[0]) this.go(items[0].number);
    } catch (problem) {
      this.log.fail(problem);
    }
  }

  /** @param {number} number */
  go(number) {
    this.number = number;
    this.show(number);
  }

  /** @param {string} text @param {Record<string, any>} query */
  async ask(text, query) {
    const { level } = this.log.filter.peek();
    try {
      return await this.log.read({ ...queryOfLog({ ...EVERYTHING, level, q: text }), limit: 1, summary: true, ...query });
    } catch (problem) {
      this.log.fail(problem);
      return null;
    }
  }
}
