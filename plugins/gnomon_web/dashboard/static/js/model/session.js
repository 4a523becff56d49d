// Who looks at this page, and the one connection that it has.
import { batch, signal } from '../core/signals.js';
import { BASE, get, post } from './api.js';
import { hear } from './clock.js';
import { actor, link, role, serverVersion } from './link.js';
import { LiveConnection } from './live.js';
import * as store from './store.js';

const LOOKING = 5_000;

/** Whether nobody has to log in, because the server knows no tokens. */
export const isOpen = signal(true);

/** @type {LiveConnection | null} */
let live = null;
/** @typedef {{ execution_id: string, lines: import('../types.d.ts').LogLine[] }} LogFrame */
/** @type {Set<(frame: LogFrame) => void>} */
const logListeners = new Set();

export const connection = () => /** @type {LiveConnection} */ (live);

/** Be told of log lines of the runs whose topic is wanted. @param {(frame: LogFrame) => void} listener @returns {() => void} */
export function onLog(listener) {
  logListeners.add(listener);
  return () => void logListeners.delete(listener);
}

/** Connect, and stay connected. */
export function connect() {
  const scheme = location.protocol === 'https:' ? 'wss' : 'ws';
  live = new LiveConnection(`${scheme}://${location.host}${BASE}/ws/live`, {
    snapshot: (frame) => batch(() => {
      role.value = frame.role;
      actor.value = frame.actor;
      store.load(frame);
    }),
    delta: store.take,
    log: (frame) => logListeners.forEach((listener) => listener(frame)),
    heard: ({ now, version, health }) => batch(() => {
      if (now) hear(now);
      if (version) serverVersion.value = version;
      if (health) store.health.value = health;
    }),
    look,
  });
  live.open();
}

/** Ask who we are: the cheapest answer there is. A proxy that answers for a server that is away says 502, 503 or 504. */
async function look() {
  try {
    const session = await get('/session', {}, AbortSignal.timeout(LOOKING));
    isOpen.value = session.is_open;
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
  connection().open();
}

export async function logOut() {
  await post('/logout');
  connection().leave();
  link.value = 'refused';
}
