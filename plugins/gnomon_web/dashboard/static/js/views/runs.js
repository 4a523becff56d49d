// All runs: filtered and sorted by the address, live at the top, further pages below.
import { h } from '../core/dom.js';
import { batch, computed, effect, onDispose, signal, untracked } from '../core/signals.js';
import { refine, route } from '../core/router.js';
import { get } from '../model/api.js';
import { clean } from '../model/sanitize.js';
import { complete } from '../model/fold.js';
import { matches } from '../model/finished_runs.js';
import { allJobs, readRoster } from '../model/jobs_by_need.js';
import { filtersOf, paramsOf, RUN_FIELDS, textOf } from '../model/query_text.js';
import * as store from '../model/store.js';
import { icon } from '../components/icons.js';
import { longTable } from '../components/long_table.js';
import { chosenColumns, density, listTools, sortableHead } from '../components/list_tools.js';
import { copyLink } from '../components/copy_link.js';
import { cancelMatchingButton, retryMatchingButton } from '../components/operator_actions.js';
import { problemOf, queryBar } from '../components/query_bar.js';
import { subject, ofRun } from '../components/menu.js';
import { basisOfTimeLeft, elapsed, empty, failure, items, moment, progressBar, runAddress, runBadge, skeleton, startedBy, timeLeft } from '../components/common.js';
import { duration, number, periodInWords, wholeDuration } from '../i18n/format.js';
import { t } from '../i18n/index.js';

/** @typedef {import('../types.d.ts').Run} Run */

const PAGE_ROWS = 50;
const MAX_ROWS = 200; // live rows; older ones are dropped and read again on demand
const STATUSES = ['running', 'scheduled', 'success', 'failed', 'missed', 'cancelled'];
const PERIODS = ['1h', '24h', '7d', '30d']; // each ends now and moves on with it
const LATENESS = ['10s', '1m', '10m', '1h'];
const REREAD_MS = 1000; // between two reads of a list that only the server can judge
const NEWEST_FIRST = '-started';
const COLUMNS = ['status', 'job', 'started', 'late', 'duration', 'progress', 'by'];
const SORTS = Object.fromEntries(COLUMNS.map((name) => [name, name]));
const FILTERS = [...Object.values(RUN_FIELDS), 'q', 'query'];

/** The filters in the address, and the order. @param {Record<string, string>} query @returns {Record<string, any>} */
const askedOf = (query) => ({ ...filtersOf(query, RUN_FIELDS), ...(query.sort && query.sort !== NEWEST_FIRST ? { sort: query.sort } : {}) });

/** Whether the page knows itself which runs a list has, and where. @param {Record<string, any>} asked */
const isPlain = (asked) => !asked.query && !asked.sort;

/** A paginated list. New runs are added at the top, or wait there while the user has scrolled down. */
function runList() {
  const rows = signal(/** @type {string[]} */ ([]));
  const waiting = signal(/** @type {string[]} */ ([]));
  const state = signal({ total: 0, next: /** @type {string | null} */ (null), loading: true, error: /** @type {Error | null} */ (null) });
  /** @type {Map<string, Run>} as the list read them; the store's version takes precedence */
  const known = new Map();
  const filters = computed(() => JSON.stringify(askedOf(route.value.query)));
  let rereadTimer = 0;
  let abort = new AbortController();
  let cut = false; // rows were dropped, so the next page starts at an offset instead of the cursor
  let news = /** @type {string[]} */ ([]); // runs that started during the request, whose response may predate them

  const read = async (/** @type {boolean} */ further) => {
    clearTimeout(rereadTimer);
    rereadTimer = 0;
    if (!further) abort.abort();
    if (!further) abort = new AbortController();
    if (!further) news = [];
    const { signal: stop } = abort;
    const before = state.peek();
    state.value = { ...before, loading: true, error: null };
    try {
      const from = further ? (cut ? { offset: rows.peek().length } : { cursor: before.next }) : {};
      const query = { ...JSON.parse(filters.peek()), limit: PAGE_ROWS, ...from };
      const page = await get('/scheduler/logs', query, stop);
      if (stop.aborted) return;
      batch(() => addPage(page, further));
    } catch (error) {
      if (!stop.aborted) state.value = { ...state.peek(), loading: false, error: /** @type {Error} */ (error) };
    }
  };

  const addPage = (/** @type {import('../types.d.ts').ListPage} */ page, /** @type {boolean} */ further) => {
    for (const run of page.items) known.set(run._id, complete(run));
    const ids = page.items.map((run) => run._id);
    const asked = JSON.parse(filters.peek());
    const missing = news.filter((id) => !ids.includes(id) && isListed(id, asked));
    rows.value = further ? [...rows.peek(), ...ids.filter((id) => !rows.peek().includes(id))] : [...missing, ...ids];
    if (!further) waiting.value = [];
    if (!further) cut = false;
    news = [];
    state.value = { total: further ? state.peek().total : page.total + missing.length, next: page.next ?? (cut && rows.peek().length < page.total ? 'more' : null), loading: false, error: null };
  };

  effect(() => {
    filters.value;
    store.generation.value;
    untracked(() => read(false));
    return () => (abort.abort(), clearTimeout(rereadTimer), (rereadTimer = 0));
  });
  effect(() =>
    store.onEvents((events) => {
      const asked = JSON.parse(filters.peek());
      if (!isPlain(asked)) return events.some((event) => isEnd(event) || event.type === 'scheduled' || event.type === 'missed') && reread();
      const begun = events.filter((event) => event.type === 'scheduled' || event.type === 'missed' || (asked.status && isEnd(event)));
      const fresh = [...new Set(begun.map((event) => event.stream))].reverse()
        .filter((id) => !rows.peek().includes(id) && !waiting.peek().includes(id) && isListed(id, asked));
      if (fresh.length === 0) return;
      state.value = { ...state.peek(), total: state.peek().total + fresh.length };
      if (state.peek().loading) news = [...fresh, ...news];
      if (scrollY > 200) waiting.value = [...fresh, ...waiting.peek()];
      else push(fresh);
    }),
  );
  /** Read the first page again, soon, unless the user is further down. */
  const reread = () => {
    if (rereadTimer || scrollY > 200 || rows.peek().length > PAGE_ROWS) return;
    rereadTimer = setTimeout(() => read(false), REREAD_MS);
  };
  const push = (/** @type {string[]} */ ids) => {
    const all = [...ids, ...rows.peek()];
    for (const gone of all.slice(MAX_ROWS)) known.delete(gone);
    if (all.length > MAX_ROWS) {
      cut = true;
      state.value = { ...state.peek(), next: 'more' };
    }
    rows.value = all.slice(0, MAX_ROWS);
  };
  const show = () => batch(() => {
    push(waiting.peek());
    waiting.value = [];
    scrollTo({ top: 0 });
  });
  const run = (/** @type {string} */ id) => {
    const current = store.runOf(id) ?? known.get(id);
    if (current) known.set(id, current);
    return /** @type {Run} */ (current);
  };
  return { rows, waiting, state, read, show, run };
}

/** @param {string} id @param {Record<string, any>} asked */
function isListed(id, asked) {
  const run = store.runs.get(id)?.peek();
  return run !== undefined && !run.hidden && matches(run, asked);
}

/** @param {import('../types.d.ts').LogEvent} event */
const isEnd = (event) => ['started', 'succeeded', 'failed', 'cancelled'].includes(event.type);

/** Act when an element comes near the viewport. @param {Element} element @param {() => void} act */
function whenNear(element, act) {
  const watcher = new IntersectionObserver(([entry]) => {
    if (!entry.isIntersecting) return;
    watcher.disconnect();
    act();
  }, { rootMargin: '600px' });
  watcher.observe(element);
  onDispose(() => watcher.disconnect());
}

export function runsView() {
  const list = runList();
  const columns = chosenColumns('runs', COLUMNS, ['late']);
  // A list by lateness shows it.
  const shown = computed(() => COLUMNS.filter((name) => columns.shown.value.split(' ').includes(name) || (name === 'late' && asksForLateness())).join(' '));
  let scrolls = false; // once more was asked for, further pages follow the scrolling
  const total = () => list.state.value.total;
  return h('div', { class: 'page' }, [
    h('header', { class: 'head' }, h('h1', { tabindex: -1 }, t('nav.runs')), h('span', { class: 'count num' }, () => number(total())), h('span', { class: 'spacer' }), cancelMatchingButton(unfinishedShown, () => route.value.query), retryMatchingButton(total, () => route.value.query)),
    filters(() => list.state.value.error, listTools({ columns, fixed: ['job'], sorts: SORTS, usual: NEWEST_FIRST, path: '/scheduler/executions', query: () => ({ ...askedOf(route.value.query), at: route.value.query.at }), total })),
    () => list.waiting.value.length > 0 && h('button', { class: 'news', onclick: list.show }, icon('down'), t('runs.news', { n: list.waiting.value.length })),
    h('div', { class: () => `panel table${density()}` }, [
      () => table(list, shown.value.split(' ')),
      () => {
        const { loading, error, next } = list.state.value;
        if (error) return !problemOf(error) && failure(error, () => list.read(list.rows.peek().length > 0));
        if (list.rows.value.length === 0) return loading ? skeleton(5) : empty(t('runs.none'), h('button', { onclick: clear }, t('filters.clear')));
        return next && h('p', { class: 'foot' }, h('button', { disabled: loading, onclick: () => ((scrolls = true), list.read(true)), ref: (/** @type {Element} */ element) => scrolls && !loading && whenNear(element, () => list.read(true)) }, t(loading ? 'loading' : 'runs.more')));
      },
    ]),
  ]);
}

const asksForLateness = () => /(^|\s)late[<>]/.test(route.value.query.query ?? '') || (route.value.query.sort ?? '').endsWith('late');

/** Built again for other columns. @param {ReturnType<typeof runList>} list @param {string[]} columns */
const table = (list, columns) => untracked(() => longTable({
  name: 'runs',
  head: sortableHead(columns, SORTS, NEWEST_FIRST),
  ids: () => list.rows.value,
  row: (id) => runRow(id, () => list.run(id), columns),
  whole: 300, // six pages
}));

/** How many of the unfinished runs that the page knows the filters may show. */
function unfinishedShown() {
  const asked = askedOf(route.value.query);
  return asked.query ? store.activeIds.value.length : store.activeIds.value.filter((id) => isListed(id, asked)).length;
}

const clear = () => refine(Object.fromEntries(FILTERS.map((key) => [key, null])));

/** @param {() => Error | null} problem @param {any} tools */
function filters(problem, tools) {
  const query = () => route.value.query;
  const chosen = (/** @type {string} */ state) => (query().status ?? '').split(',').includes(state);
  const toggle = (/** @type {string} */ state) => {
    const now = new Set((query().status ?? '').split(',').filter(Boolean));
    if (!now.delete(state)) now.add(state);
    refine({ status: [...now].join(',') || null });
  };
  return h('div', { class: 'filters', role: 'search' }, [
    queryBar({ list: 'runs', fields: RUN_FIELDS, placeholder: t('runs.search'), wait: 300, problem }),
    h('div', { class: 'choice', role: 'group', 'aria-label': t('col.status') }, STATUSES.map((state) =>
      h('button', { type: 'button', 'aria-pressed': () => String(chosen(state)), class: state, onclick: () => toggle(state) }, icon(state), t(/** @type {any} */ (`status.${state}`))))),
    () => (store.hasAllJobs.value ? select('job_id', t('col.job'), () => [['', t('runs.any.job')], ...store.jobIds.value.map((id) => /** @type {[string, string]} */ ([id, store.jobName(id)]))]) : jobField()),
    select('is_manual', t('col.by'), () => [['', t('runs.any.by')], ['true', t('by.manual')], ['false', t('by.schedule')]]),
    periodSelect(),
    latenessSelect(),
    () => query().label && h('button', { type: 'button', 'aria-label': t('runs.label.any', { label: query().label }), onclick: () => refine({ label: null }) }, clean(query().label), icon('close')),
    () => FILTERS.some((key) => query()[key]) && h('button', { class: 'quiet', onclick: clear }, icon('close'), t('filters.clear')),
    copyLink(),
    tools,
  ]);
}

/** The least lateness. It is a term of the query, since the address has no parameter for it. */
function latenessSelect() {
  const chosen = () => /(?:^|\s)late>(\S+)/.exec(route.value.query.query ?? '')?.[1] ?? '';
  const choose = (/** @type {any} */ event) => {
    const rest = textOf(route.peek().query, RUN_FIELDS).replace(/(^|\s)late[<>]\S+/g, '$1');
    refine(paramsOf(event.target.value ? `${rest} late>${event.target.value}` : rest, RUN_FIELDS));
  };
  return h('select', { 'aria-label': t('col.late'), onchange: choose }, () => {
    const value = chosen();
    return [
      h('option', { value: '' }, t('runs.any.late')),
      [...new Set([...LATENESS, value])].filter(Boolean).map((one) => h('option', { value: one, selected: one === value }, t('runs.late', { t: one }))),
    ];
  });
}

/** @param {string} key @param {string} name @param {() => [string, string][]} choices */
const select = (key, name, choices) =>
  h('select', { 'aria-label': name, value: () => (choices(), route.value.query[key] ?? ''), onchange: (/** @type {any} */ event) => refine({ [key]: event.target.value || null }) }, () =>
    choices().map(([value, text]) => h('option', { value, selected: untracked(() => route.value.query[key] ?? '') === value }, text)));

/** A job of too many for a list: typed, with the roster as suggestions. */
function jobField() {
  const open = signal(false);
  const choose = (/** @type {any} */ event) => refine({ job_id: event.target.value || null });
  effect(() => void (open.value && readRoster()));
  return h('label', { class: 'search' }, [
    h('input', { list: 'job-names', 'aria-label': t('col.job'), placeholder: t('runs.any.job'), value: () => route.value.query.job_id ?? '', onfocus: () => (open.value = true), onchange: choose }),
    h('datalist', { id: 'job-names' }, () => open.value && allJobs.value.map((job) => h('option', { value: job.id }, job.name ?? ''))),
  ]);
}

/** The period. The address keeps it relative to now; one that an address has brought is shown as it is. */
function periodSelect() {
  const chosen = () => {
    const { since, until } = route.value.query;
    return !since && !until ? '' : !until && since.startsWith('-') && PERIODS.includes(since.slice(1)) ? since : 'kept';
  };
  const choose = (/** @type {any} */ event) => event.target.value === 'kept' || refine({ since: event.target.value || null, until: null });
  return h('select', { 'aria-label': t('runs.since'), onchange: choose }, () => [
    h('option', { value: '' }, t('runs.any.time')),
    chosen() === 'kept' && h('option', { value: 'kept', selected: true }, periodInWords(route.value.query)),
    PERIODS.map((key) => h('option', { value: `-${key}`, selected: chosen() === `-${key}` }, t('runs.last', { t: t(/** @type {any} */ (`window.${key}`)) }))),
  ]);
}

/** Each cell subscribes only to what it shows, so frequent reports do not redraw the others. @param {string} id @param {() => Run} read @param {string[]} columns */
function runRow(id, read, columns) {
  const { job_id, job_name } = untracked(read);
  const state = computed(() => `${read().status} ${read().cancel_requested}`);
  const isRunning = computed(() => read().status === 'running');
  const message = computed(() => clean((isRunning.value ? read().progress_message : read().error_message) ?? ''));
  const began = computed(() => read().timestamp);
  const delay = computed(() => read().delay ?? null);
  const done = computed(() => items(read()) || '–');
  const left = computed(() => timeLeft(read()));
  const basis = computed(() => basisOfTimeLeft(read()));
  const cell = (/** @type {string} */ name, /** @type {any} */ content, look = 'num') => h('td', { class: look || null, 'data-label': t(/** @type {any} */ (`col.${name}`)) }, content);
  /** @type {Record<string, () => any>} */
  const cells = {
    status: () => h('td', { class: 'state' }, () => state.value && untracked(() => runBadge(read()))),
    job: () => h('th', { scope: 'row' }, [
      h('a', { href: runAddress(id), 'data-open': '' }, () => store.jobName(job_id)),
      h('small', null, () => message.value || h('span', { class: 'mono' }, id)),
    ]),
    started: () => cell('started', () => moment(began.value)),
    late: () => cell('late', () => (delay.value === null ? '–' : duration(delay.value))),
    duration: () => cell('duration', () => (isRunning.value ? [wholeDuration(elapsed(untracked(read))), ' ', h('small', { title: basis.value }, left.value)] : duration(read().execution_time))),
    progress: () => cell('progress', () => (isRunning.value ? untracked(() => progressBar(read, `${t('progress')}: ${job_name}`)) : h('span', { class: 'num faint' }, done.value)), ''),
    by: () => cell('by', startedBy(untracked(read)), 'faint'),
  };
  return h('tr', { 'data-row': id, ref: subject(() => ofRun(read())) }, columns.map((name) => cells[name]()));
}
