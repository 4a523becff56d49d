// The log of a run in pages: what is in view is loaded, and what was looked at longest ago is dropped.
import { batch, computed, effect, onDispose, signal } from '../core/signals.js';
import { LogRows, MatchRows } from './log_rows.js';
import { get } from './api.js';
import { connection, onLog } from './session.js';
import * as store from './store.js';

/** @typedef {import('../types.d.ts').LogLine} LogLine */
/** @typedef {import('../types.d.ts').LogOutline} LogOutline */
/** @typedef {import('../types.d.ts').LogPage} LogPage */
/** @typedef {import('../types.d.ts').LogSummary} LogSummary */
/** @typedef {{ level: string, q: string }} LogFilter */

export const PAGE_OF_LOG = 200; // lines
const MOST_PAGES = 40;
const RECOUNT_MS = 900; // between two counts while lines arrive
export const EVERYTHING = { level: 'debug', q: '' };

/** @param {string} id */
export const pathOfLog = (id) => `/scheduler/executions/${encodeURIComponent(id)}/log`;

/** The filters as the server takes them. @param {LogFilter} filter */
export const queryOfLog = ({ level, q }) => ({ level: level === 'debug' ? null : level, q: q || null });

export class RunLog {
  filter = signal(/** @type {LogFilter} */ (EVERYTHING));
  summary = signal(/** @type {LogSummary | null} */ (null));
  outline = signal(/** @type {LogOutline | null} */ (null));
  error = signal(/** @type {Error | null} */ (null));
  /** The repeats that were opened, and the steps that were closed. */
  turned = signal(/** @type {ReadonlySet<string>} */ (new Set()));
  isFiltered = computed(() => this.filter.value.level !== 'debug' || this.filter.value.q !== '');
  rows = computed(() => {
    const known = this.summary.value;
    if (known === null || known.first === null || known.last === null) return new MatchRows(0);
    return this.isFiltered.value ? new MatchRows(known.matching) : new LogRows(known.first, known.last, this.outline.value, this.turned.value);
  });
  /** @type {Map<number, { lines: { value: LogLine[] | null, peek(): LogLine[] | null } }>} */
  pages = new Map();
  /** Changes when the pages are forgotten. */
  version = signal(0);
  stop = () => {};
  recount = 0;
  abort = new AbortController();

  /** @param {string} id */
  constructor(id) {
    this.id = id;
    effect(() => {
      store.generation.value;
      this.filter.value;
      this.forget();
      void this.count();
    });
    effect(() => {
      store.generation.value;
      void this.readOutline();
    });
    onDispose(onLog((frame) => frame.execution_id === id && this.receive(frame.lines)));
    onDispose(() => (clearTimeout(this.recount), this.abort.abort()));
    const last = computed(() => this.summary.value && (this.summary.value.last ?? 0));
    let isFollowing = false;
    effect(() => {
      if (last.value === null || isFollowing) return;
      isFollowing = true;
      this.stop = connection().subscribe(`log:${id}:${last.peek()}`); // only what is logged from now on
    });
    onDispose(() => this.stop());
  }

  /** The line of a row, or null while it is being loaded. @param {import('./log_rows.js').LogRow} row @returns {LogLine | null} */
  line(row) {
    if (row.kind !== 'line' && row.kind !== 'match') return null;
    this.version.value;
    const place = row.kind === 'line' ? row.number - 1 : row.number;
    const lines = this.page(Math.floor(place / PAGE_OF_LOG)).lines.value;
    return (row.kind === 'line' ? lines?.find((line) => line.number === row.number) : lines?.[place % PAGE_OF_LOG]) ?? null;
  }

  /** @param {number} index */
  page(index) {
    let found = this.pages.get(index);
    if (found) this.pages.delete(index);
    else {
      found = { lines: signal(/** @type {LogLine[] | null} */ (null)) };
      void this.load(index, found);
    }
    this.pages.set(index, found); // the page that was used last is the last
    if (this.pages.size > MOST_PAGES) this.pages.delete(/** @type {number} */ (this.pages.keys().next().value));
    return found;
  }

  /** @param {number} index @param {{ lines: { value: LogLine[] | null } }} page */
  async load(index, page) {
    const place = this.isFiltered.peek() ? { offset: index * PAGE_OF_LOG, ...queryOfLog(this.filter.peek()) } : { after: index * PAGE_OF_LOG };
    try {
      const { items } = await this.read({ ...place, limit: PAGE_OF_LOG });
      page.lines.value = this.isFiltered.peek() ? items : items.filter((/** @type {LogLine} */ line) => line.number <= (index + 1) * PAGE_OF_LOG);
    } catch (problem) {
      if (this.pages.get(index) === page) this.pages.delete(index);
      this.fail(problem);
    }
  }

  /** @param {Record<string, any>} query @returns {Promise<LogPage>} */
  read(query) {
    return get(pathOfLog(this.id), query, this.abort.signal);
  }

  /** Ask what is kept and how much of it matches. */
  async count() {
    const filter = this.filter.peek();
    try {
      const page = await this.read({ ...queryOfLog(filter), newest: true, summary: true, limit: 1 });
      if (filter !== this.filter.peek()) return;
      batch(() => {
        const known = this.summary.peek();
        const isShifted = known !== null && known.first !== page.summary?.first;
        if (this.isFiltered.peek() && (isShifted || known?.matching !== page.summary?.matching)) this.forget();
        this.summary.value = page.summary ?? null;
        this.error.value = null;
      });
    } catch (problem) {
      this.fail(problem);
    }
  }

  async readOutline() {
    try {
      this.outline.value = await get(`${pathOfLog(this.id)}/outline`, {}, this.abort.signal);
    } catch (problem) {
      this.fail(problem);
    }
  }

  /** Add lines that were just logged. @param {LogLine[]} lines */
  receive(lines) {
    const known = this.summary.peek();
    const news = lines.filter((line) => line.number > (known?.last ?? 0));
    if (!known || news.length === 0) return;
    const { number } = news[news.length - 1];
    if (!this.isFiltered.peek()) {
      batch(() => {
        for (const line of news) this.append(line);
        this.summary.value = { ...known, first: known.first ?? news[0].number, last: number };
      });
    }
    this.recount ||= setTimeout(() => {
      this.recount = 0;
      void this.count();
      void this.readOutline();
    }, RECOUNT_MS);
  }

  /** @param {LogLine} line */
  append(line) {
    const index = Math.floor((line.number - 1) / PAGE_OF_LOG);
    const page = this.pages.get(index);
    const loaded = page?.lines.peek();
    if (page && loaded && (loaded.at(-1)?.number ?? 0) < line.number) page.lines.value = [...loaded, line];
  }

  /** Open or close a fold. @param {string} key */
  turn(key) {
    const turned = new Set(this.turned.peek());
    if (!turned.delete(key)) turned.add(key);
    this.turned.value = turned;
  }

  /** Open the folds that hide a line. @param {number} number */
  reveal(number) {
    for (let fold = this.rows.peek().of(number)?.hiddenBy; fold; fold = this.rows.peek().of(number)?.hiddenBy) this.turn(fold);
  }

  forget() {
    this.pages.clear();
    this.version.value += 1;
  }

  /** @param {unknown} problem */
  fail(problem) {
    if (!this.abort.signal.aborted) this.error.value = /** @type {Error} */ (problem);
  }

  /** All lines that are kept and match, in pages. @returns {AsyncGenerator<LogLine[]>} */
  async *all() {
    for (let after = /** @type {number | null} */ (0); after !== null;) {
      const page = await this.read({ ...queryOfLog(this.filter.peek()), after, limit: 1000 });
      yield page.items;
      after = page.next;
    }
  }
}
