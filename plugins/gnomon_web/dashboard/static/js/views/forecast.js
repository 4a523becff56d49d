// The forecast: the fires of a period to come, when their runs are expected to end, and those that will not run.
import { h } from '../core/dom.js';
import { computed, effect, onDispose, signal } from '../core/signals.js';
import { address, refine, route } from '../core/router.js';
import { get } from '../model/api.js';
import { clean } from '../model/sanitize.js';
import * as store from '../model/store.js';
import { expectedEnd, forecastChart, prospect } from '../charts/forecast.js';
import { choice, empty, failure, jobLink, moment, panel, sized, skeleton } from '../components/common.js';
import { copyLink } from '../components/copy_link.js';
import { filterField } from '../components/filter_field.js';
import { icon } from '../components/icons.js';
import { longTable } from '../components/long_table.js';
import { duration, number, relative } from '../i18n/format.js';
import { t } from '../i18n/index.js';

/** @typedef {import('../types.d.ts').Forecast} Forecast */
/** @typedef {import('../types.d.ts').ForecastJob} ForecastJob */
/** @typedef {import('../types.d.ts').ForecastRun} ForecastRun */
/** @typedef {{ job: ForecastJob, run: ForecastRun }} Fire */

const PERIODS_AHEAD = ['2h', '24h', '7d'];
const MOST_FIRES = 500;
const MOST_JOBS = 200;
const MOST_LANES = 40;
const REFRESH_MS = 30_000;
const SETTLE_MS = 500; // after a change of a job, so that many of them are read together
const CHOSEN = ['q', 'tag', 'label'];
const PROSPECTS = /** @type {const} */ (['running', 'run', 'waits', 'overlap', 'closed', 'skipped', 'paused', 'held']);
const GLYPHS = /** @type {Record<string, string>} */ ({ running: 'running', run: 'scheduled', waits: 'scheduled', overlap: 'missed', closed: 'missed', skipped: 'missed', paused: 'paused', held: 'paused' });

/** The class of a prospect in badges. @param {string} key */
const look = (key) => (key === 'run' ? 'scheduled' : key);

/** Whether the server has the plugin that forecasts. */
const canForecast = computed(() => store.contributed.value.includes('statistics'));

const period = () => (PERIODS_AHEAD.includes(route.value.query.window) ? route.value.query.window : '24h');

/** What the server expects, read again as time passes and when a job changes. */
function expected() {
  const found = signal({ value: /** @type {Forecast | null} */ (null), error: /** @type {Error | null} */ (null), loading: true });
  const changes = signal(0);
  const asked = computed(() => JSON.stringify({ to: `+${period()}`, fires: MOST_FIRES, jobs: MOST_JOBS, ...Object.fromEntries(CHOSEN.map((key) => [key, route.value.query[key]])) }));
  effect(() => {
    changes.value;
    store.generation.value;
    if (!canForecast.value) return undefined;
    const abort = new AbortController();
    found.value = { ...found.peek(), loading: true };
    get('/scheduler/forecast', JSON.parse(asked.value), abort.signal).then(
      (value) => (found.value = { value, error: null, loading: false }),
      (error) => abort.signal.aborted || (found.value = { value: null, error, loading: false }),
    );
    return () => abort.abort();
  });
  const again = () => (changes.value += 1);
  let timer = 0;
  const clock = setInterval(() => document.hidden || again(), REFRESH_MS);
  const stopListening = store.onEvents((events) => {
    if (!events.some(({ stream, type }) => stream.startsWith('job:') || type === 'kernel_held' || type === 'kernel_released')) return;
    clearTimeout(timer);
    timer = setTimeout(again, SETTLE_MS);
  });
  onDispose(() => {
    stopListening();
    clearInterval(clock);
    clearTimeout(timer);
  });
  return { found, again };
}

export function forecastView() {
  const { found, again } = expected();
  const forecast = computed(() => found.value.value);
  const wanted = () => route.value.query.outcome ?? '';
  const fires = computed(() => firesOf(forecast.value).filter(({ run }) => wanted() === '' || prospect(run) === wanted()));
  return h('div', { class: 'page', 'aria-busy': () => canForecast.value && found.value.loading && 'true' }, [
    h('header', { class: 'head' }, [
      h('h1', { tabindex: -1 }, t('nav.forecast')),
      h('span', { class: 'count num' }, () => (forecast.value ? number(countOf(forecast.value)) : '')),
      h('span', { class: 'spacer' }),
      choice(t('forecast.period'), PERIODS_AHEAD.map((key) => [key, t(/** @type {any} */ (`forecast.next.${key}`))]), period, (value) => refine({ window: value === '24h' ? null : value })),
    ]),
    h('div', { class: 'filters', role: 'search' }, [
      filterField('q', t('jobs.search'), () => (forecast.value?.jobs ?? []).map((job) => job.job_id)),
      filterField('tag', t('jobs.tag'), () => [...new Set(store.jobIds.value.flatMap((id) => store.jobs.get(id)?.peek().tags ?? []))].sort()),
      filterField('label', t('forecast.by.label'), () => []),
      () => CHOSEN.some((key) => route.value.query[key]) && h('button', { class: 'quiet', type: 'button', onclick: () => refine({ q: null, tag: null, label: null }) }, icon('close'), t('filters.clear')),
      copyLink(),
    ]),
    () => {
      const { error, value } = found.value;
      if (!canForecast.value) return empty(t('forecast.missing'));
      if (error) return failure(error, again);
      return value === null && skeleton(6);
    },
    () => forecast.value && outcomes(forecast.value, wanted()),
    () => forecast.value && whatIsCut(forecast.value),
    () => forecast.value && panel(t('timeline'), chart(forecast.value), { class: 'timeline' }),
    h('div', { class: 'panel table', hidden: () => forecast.value === null }, [
      fireTable(fires),
      () => fires.value.length === 0 && forecast.value !== null && empty(t('forecast.none')),
    ]),
  ]);
}

/** The fires that are listed, in their order. @param {Forecast | null} forecast @returns {Fire[]} */
function firesOf(forecast) {
  const all = (forecast?.jobs ?? []).flatMap((job) => job.runs.map((run) => ({ job, run })));
  return all.sort((one, other) => Date.parse(one.run.at) - Date.parse(other.run.at) || (one.job.job_id < other.job.job_id ? -1 : 1));
}

/** @param {Forecast} forecast */
const countOf = ({ jobs }) => jobs.reduce((sum, job) => sum + job.fires, 0);

/** What is expected, counted by the server; each count shows its fires alone. @param {Forecast} forecast @param {string} wanted */
function outcomes(forecast, wanted) {
  const waiting = firesOf(forecast).filter(({ run }) => prospect(run) === 'waits').length;
  const counts = /** @type {Record<string, number>} */ ({ ...forecast.totals, waits: waiting });
  return h('div', { class: 'choice outcomes', role: 'group', 'aria-label': t('forecast.outcomes') }, PROSPECTS.filter((key) => counts[key] > 0).map((key) =>
    h('button', { type: 'button', class: look(key), 'aria-pressed': String(wanted === key), onclick: () => refine({ outcome: wanted === key ? null : key }) }, icon(GLYPHS[key]), h('span', { class: 'num' }, number(counts[key])), t(`forecast.${key}`))));
}

/** @param {Forecast} forecast */
function whatIsCut(forecast) {
  const all = countOf(forecast);
  const often = forecast.jobs.filter((job) => job.interval_s != null).length;
  const listed = forecast.jobs.reduce((sum, job) => sum + job.runs.filter((run) => run.outcome !== 'running').length, 0);
  const notes = [
    listed < all && t('forecast.cut.fires', { n: number(listed), m: number(all) }),
    often > 0 && t('forecast.cut.often', { n: often }),
    forecast.cut.jobs > 0 && t('forecast.cut.jobs', { n: forecast.cut.jobs }),
    forecast.jobs.length > MOST_LANES && t('forecast.cut.lanes', { n: MOST_LANES, m: forecast.jobs.length }),
  ].filter(Boolean);
  return notes.length > 0 && h('p', { class: 'quiet-line' }, notes.join(' '));
}

/** @param {Forecast} forecast */
function chart(forecast) {
  const jobs = forecast.jobs.slice(0, MOST_LANES);
  const [from, to] = [Date.parse(forecast.from), Date.parse(forecast.to)];
  const isCut = forecast.jobs.some((job) => job.cut > 0 && job.interval_s == null);
  const last = firesOf(forecast).at(-1)?.run.at;
  const listedUntil = isCut && last ? Date.parse(last) : to;
  if (jobs.length === 0) return empty(t('forecast.none'));
  return h('div', { class: 'lane-grid' }, [
    h('ul', { class: 'lane-names' }, jobs.map((job) => h('li', { class: job.paused ? 'paused' : '' }, jobLink(job.job_id, clean(job.name))))),
    sized((width) => forecastChart({ jobs, from, to, listedUntil, width, address: (id) => address(`/jobs/${encodeURIComponent(id)}`) })),
  ]);
}

/** @param {{ value: Fire[] }} fires */
function fireTable(fires) {
  const byKey = computed(() => new Map(fires.value.map((fire) => [`${fire.job.job_id} ${fire.run.at} ${fire.run.outcome} ${fire.run.ends} ${fire.run.detail}`, fire])));
  return longTable({
    name: 'acts fires',
    head: h('thead', null, h('tr', null, [t('act.time'), t('col.job'), t('forecast.outcome'), t('forecast.end'), t('act.why')].map((text) => h('th', { scope: 'col' }, text)))),
    ids: () => [...byKey.value.keys()],
    row: (key) => fireRow(/** @type {Fire} */ (byKey.value.get(key))),
    whole: 200,
  });
}

/** @param {Fire} fire */
const fireRow = ({ job, run }) =>
  h('tr', { 'data-row': '' }, [
    h('td', { class: 'num', 'data-label': t('act.time') }, moment(run.at), ' ', h('small', null, () => relative(run.at))),
    h('th', { scope: 'row' }, h('a', { href: address(`/jobs/${encodeURIComponent(job.job_id)}`), 'data-open': '' }, clean(job.name)), job.interval_s != null && h('small', null, ' ', t('schedule.every', { t: duration(job.interval_s) }))),
    h('td', { 'data-label': t('forecast.outcome') }, h('span', { class: `badge ${look(prospect(run))}` }, icon(GLYPHS[prospect(run)]), t(`forecast.${prospect(run)}`)), run.may_overlap && run.outcome === 'run' && h('small', null, ' ', t('forecast.may.overlap'))),
    h('td', { class: 'num', 'data-label': t('forecast.end') }, expectedEnd(run) || '–'),
    h('td', { class: 'why', 'data-label': run.detail ? t('act.why') : null }, clean(run.detail ?? '')),
  ]);
