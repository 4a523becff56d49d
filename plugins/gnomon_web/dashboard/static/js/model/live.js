// The live connection, `gnomon.live.v1`: a snapshot at a position of the log, then what came after it, without a gap.
import { link, retryAt } from './link.js';

const PROTOCOL = 'gnomon.live.v1';
const SILENCE = 25_000; // 2.5 times the server's heartbeat: longer, and the connection is dead without having been closed
const CONNECTING = 8_000; // a handshake that takes longer hangs in a proxy
const PATIENCE = 30_000;

const RESTARTING = 1012;
const NOT_LOGGED_IN = 4401;
const WRONG_ORIGIN = 4403;

/** @typedef {import('../types.d.ts').Snapshot} Snapshot */
/** @typedef {import('../types.d.ts').Delta} Delta */

/**
 * @typedef {object} Listeners
 * @property {(frame: Snapshot) => void} snapshot
 * @property {(frame: Delta) => void} delta
 * @property {(frame: { execution_id: string, lines: import('../types.d.ts').LogLine[], first: number }) => void} log
 * @property {(frame: { now?: string, version?: string, health?: import('../types.d.ts').Health }) => void} heard whatever comes tells the time
 * @property {() => Promise<boolean>} refused asked when a handshake fails: is it a matter of who we are?
 */

export class LiveConnection {
  /** @type {WebSocket | null} */
  socket = null;
  /** @type {string | null} */
  log = null;
  /** @type {number | null} */
  position = null;
  /** @type {Map<string, number>} topics and how many want them */
  topics = new Map([['overview', 1]]);
  attempts = 0;
  heardAt = 0;
  timer = 0;

  /** @param {string} address @param {Listeners} listeners */
  constructor(address, listeners) {
    this.address = address;
    this.listeners = listeners;
    addEventListener('online', () => this.retrySoon());
    document.addEventListener('visibilitychange', () => document.hidden || this.retrySoon());
    setInterval(() => this.watch(), 1000);
  }

  /** Connect now, whatever was planned. */
  open() {
    clearTimeout(this.timer);
    this.leave();
    const socket = new WebSocket(this.address, [PROTOCOL]);
    this.socket = socket;
    this.heardAt = performance.now();
    socket.onopen = () => this.send({ t: 'hello', log: this.log, after: this.position, topics: [...this.topics.keys()] });
    socket.onmessage = (message) => this.socket === socket && this.take(JSON.parse(message.data));
    socket.onclose = (event) => this.socket === socket && this.closed(event.code);
  }

  /** Let go of the socket without waiting for its end. */
  leave() {
    const old = this.socket;
    this.socket = null;
    old?.close();
  }

  /** Ask for more than the overview while somebody looks at it. @param {string} topic @returns {() => void} */
  want(topic) {
    this.topics.set(topic, (this.topics.get(topic) ?? 0) + 1);
    this.send({ t: 'topics', topics: [...this.topics.keys()] });
    return () => {
      const left = (this.topics.get(topic) ?? 1) - 1;
      if (left > 0) this.topics.set(topic, left);
      else this.topics.delete(topic);
      this.send({ t: 'topics', topics: [...this.topics.keys()] });
    };
  }

  /** @param {object} frame */
  send(frame) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(frame));
  }

  /** @param {any} frame */
  take(frame) {
    this.heardAt = performance.now();
    this.listeners.heard(frame);
    if (frame.t === 'snapshot') {
      this.log = frame.log;
      this.position = frame.seq;
      this.listeners.snapshot(frame);
    } else if (frame.t === 'delta') {
      const after = this.position ?? 0;
      const events = frame.events.filter((/** @type {any} */ event) => event.position > after);
      this.position = Math.max(after, frame.seq);
      this.listeners.delta({ ...frame, events });
    } else if (frame.t === 'log') {
      this.listeners.log(frame);
    }
    if (frame.t === 'snapshot' || frame.t === 'delta') {
      this.attempts = 0;
      link.value = 'live';
      this.send({ t: 'ack', seq: this.position });
    }
  }

  /** @param {number} code */
  async closed(code) {
    this.socket = null;
    const failedAtOnce = link.peek() !== 'live';
    link.value = 'lost';
    const isRefused = code === NOT_LOGGED_IN || code === WRONG_ORIGIN || (failedAtOnce && (await this.listeners.refused()));
    if (isRefused) link.value = 'refused';
    else this.retryLater(code === RESTARTING ? 0.3 : 1);
  }

  /** Wait a random while, longer each time: a thousand pages must not come back in the same moment. @param {number} factor */
  retryLater(factor) {
    const wait = 100 + factor * Math.random() * Math.min(PATIENCE, 500 * 2 ** this.attempts);
    this.attempts += 1;
    retryAt.value = Date.now() + wait;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.open(), wait);
  }

  retrySoon() {
    if (link.peek() === 'lost' && this.socket === null) this.open();
  }

  /** Notice a connection that is dead and was never closed, as after a sleep of the machine. */
  watch() {
    if (this.socket === null) return;
    const limit = this.socket.readyState === WebSocket.CONNECTING ? CONNECTING : SILENCE;
    if (performance.now() - this.heardAt <= limit) return;
    this.leave();
    link.value = 'lost';
    this.retryLater(0.2);
  }
}
