// Wires the page together: who is here, which view the address asks for, and the keys that work everywhere.
import { h } from './core/dom.js';
import { computed, effect, untracked } from './core/signals.js';
import { offer, selectRow, startKeys, stepRow } from './core/keys.js';
import { go, refine, route, startRoutes } from './core/routes.js';
import { get } from './model/api.js';
import { startClock } from './model/clock.js';
import { link } from './model/link.js';
import { connect } from './model/session.js';
import * as store from './model/store.js';
import { actByKey, openMenu } from './parts/menu.js';
import { nextTheme, shell, startTheme } from './parts/shell.js';
import { skeleton } from './parts/pieces.js';
import { alertsView } from './views/alerts.js';
import { helpDrawer } from './views/help.js';
import { jobView } from './views/job.js';
import { jobsView } from './views/jobs.js';
import { loginView } from './views/login.js';
import { overview } from './views/overview.js';
import { runView } from './views/run.js';
import { runsView } from './views/runs.js';
import { systemDrawer } from './views/system.js';
import { language, startLanguage, t } from './words/index.js';

const HEALTH_AGAIN = 30_000;

/** @type {[RegExp, (id: string) => any][]} */
const VIEWS = [
  [/^\/$/, overview],
  [/^\/jobs$/, jobsView],
  [/^\/jobs\/([^/]+)$/, jobView],
  [/^\/runs$/, runsView],
  [/^\/runs\/([^/]+)$/, runView],
  [/^\/alerts$/, alertsView],
];

/** @param {string} path */
function view(path) {
  for (const [pattern, make] of VIEWS) {
    const found = pattern.exec(path);
    if (found) return make(decodeURIComponent(found[1] ?? ''));
  }
  return h('div', { class: 'page' }, h('h1', { tabindex: -1 }, t('nothing.here')), h('p', null, h('a', { href: '/' }, t('nav.overview'))));
}

/** The view is built anew for another path only; its filters are in the query and are followed inside. */
function main() {
  const path = computed(() => route.value.path);
  const state = computed(() => (link.value === 'refused' ? 'login' : store.isReady.value ? 'ready' : 'loading'));
  return () => {
    if (state.value === 'login') return loginView();
    if (state.value === 'loading') return [h('h1', { class: 'sr' }, 'Gnomon'), skeleton(6)];
    const wanted = path.value;
    return untracked(() => view(wanted));
  };
}

function panels() {
  const wanted = computed(() => route.value.query.panel ?? '');
  return () => {
    const panel = wanted.value === 'system' ? systemDrawer() : wanted.value === 'keys' ? helpDrawer() : null;
    if (panel) queueMicrotask(() => panel.isConnected && !panel.open && panel.showModal());
    return panel;
  };
}

const TITLES = /** @type {Record<string, any>} */ ({ '': 'nav.overview', jobs: 'nav.jobs', runs: 'nav.runs', alerts: 'nav.alerts' });

/** What a tab is called: the thing that one looks at, then the place. @param {string} path */
function titleOf(path) {
  const [, section, id] = path.split('/');
  const place = TITLES[section] ? t(TITLES[section]) : t('nothing.here');
  if (!id) return `${place} · Gnomon`;
  const name = section === 'jobs' ? store.jobName(decodeURIComponent(id)) : store.jobName(store.runOf(id)?.job_id ?? '') || id;
  return `${name} · ${place} · Gnomon`;
}

function startPage() {
  effect(() => {
    const lang = language.value;
    document.documentElement.lang = lang;
    document.body.replaceChildren(...untracked(() => shell(main(), panels())).map((part) => (typeof part === 'function' ? h('div', { class: 'place' }, part) : part)));
  });
  effect(() => void (document.title = (language.value, titleOf(route.value.path))));
  let before = route.peek().path;
  effect(() => {
    const { path } = route.value;
    if (path === before) return;
    before = path;
    // A new page begins at its top, and is announced by its heading.
    scrollTo({ top: 0 });
    requestAnimationFrame(() => /** @type {HTMLElement | null} */ (document.querySelector('main h1'))?.focus({ preventScroll: true }));
  });
}

function startShortcuts() {
  startKeys();
  offer({
    'g o': () => go('/'),
    'g j': () => go('/jobs'),
    'g r': () => go('/runs'),
    'g a': () => go('/alerts'),
    'g s': () => refine({ panel: 'system' }),
    '?': () => refine({ panel: 'keys' }),
    j: () => stepRow(1),
    k: () => stepRow(-1),
    x: selectRow,
    t: () => actByKey('t'),
    p: () => actByKey('p'),
    c: () => actByKey('c'),
    '.': openMenu,
    d: () => nextTheme(),
    '/': search,
  });
}

function search() {
  const field = () => /** @type {HTMLElement | null} */ (document.querySelector('[data-search]'));
  if (!field()) go('/runs');
  requestAnimationFrame(() => field()?.focus());
}

startTheme();
await startLanguage();
startRoutes();
startClock();
startShortcuts();
startPage();
connect();
setInterval(() => link.peek() === 'live' && get('/scheduler/health').then((health) => (store.health.value = health), () => {}), HEALTH_AGAIN);
