// The session, and the one live connection of the page.
import { past } from '../core/past.js';
import { batch, effect, signal, untracked } from '../core/signals.js';
import { BASE, get, post } from './api.js';
import { syncClock } from './clock.js';
import { actor, link, role, serverVersion } from './connection_state.js';
import { LiveConnection } from './live_connection.js';
import { pastProblem, pastReport, showPast } from './past.js';
import * as store from './store.js';

const PROBE_MS = 5_000;

/** Whether the server has no tokens, so that no login is needed. */
export const isOpen = signal(true);

/** The provider of single sign-on, where the server has one. */
export const signIn = signal(/** @type {{ name: string, url: string } | null} */ (null));

/** @type {LiveConnection | null} */
let live = null;
/** @typedef {{ execution_id: string, lines: import('../types.d.ts').LogLine[] }} LogFrame */
/** @type {Set<(frame: LogFrame) => void>} */
const logListeners = new Set();

export const connection = () => /** @type {LiveConnection} */ (live);

/** Listen to log lines of subscribed runs. @param {(frame: LogFrame) => void} listener @returns {() => void} */
export function onLog(listener) {
  logListeners.add(listener);
  return () => void logListeners.delete(listener);
}

/** Connect, and reconnect whenever the connection is lost. */
export function connect() {
  const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
  live = new LiveConnection(`${scheme}://${location.host}${BASE}/ws/live`, {
    snapshot: (frame) => batch(() => {
      role.value = frame.role;
      actor.value = frame.actor;
      store.loadSnapshot(frame);
    }),
    delta: store.applyDelta,
    etas: store.applyEtas,
    log: (frame) => logListeners.forEach((listener) => listener(frame)),
    anyFrame: ({ now, version, health }) => batch(() => {
      if (now) syncClock(now);
      if (version) serverVersion.value = version;
      if (health) store.health.value = health;
    }),
    probe,
  });
  effect(() => (past.value === '' ? untracked(goLive) : showPast(past.value, untracked(() => connection()))));
}

/** Connect, in the present. */
function goLive() {
  pastReport.value = null;
  pastProblem.value = null;
  if (link.peek() === 'past') link.value = 'connecting';
  connection().open();
}

/** Request the session, the cheapest resource. A proxy whose server is down answers 502, 503 or 504. */
async function probe() {
  try {
    const session = await get('/session', {}, AbortSignal.timeout(PROBE_MS));
    isOpen.value = session.is_open;
    signIn.value = session.sign_in ?? null;
    return session.is_open || session.role !== 'public' ? 'there' : 'refused';
  } catch (error) {
    const { status } = /** @type {import('./api.js').Problem} */ (error);
    return status > 0 && status < 500 ? 'there' : 'away';
  }
}

/** @param {string} token */
export async function logIn(token) {
  await post('/login', { token });
  isOpen.value = false;
  link.value = 'connecting';
  if (past.peek() === '') connection().open();
  else showPast(past.peek(), connection());
}

/** Log in with the secret of a wall link, which the fragment of the address has, unless this browser has a login. */
export async function takeLink() {
  const secret = new URLSearchParams(location.hash.slice(1)).get('k');
  if (!secret) return;
  history.replaceState(null, '', location.pathname + location.search);
  const session = await get('/session').catch(() => null);
  if (session && !session.is_open && session.role === 'public') await post('/login', { token: secret }).catch(() => {}); // the page asks for a token then
}

/** A login that could not be ended in all processes has ended in this browser: the problem says so. */
export async function logOut() {
  try {
    await post('/logout');
  } finally {
    connection().disconnect();
    link.value = 'refused';
  }
}
